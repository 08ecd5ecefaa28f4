"""Downloads of published weights: checked, resumed, one process at a time, then ported.

Proxies are those of the environment (HTTPS_PROXY, NO_PROXY). Every mirror is asked once: a machine
without network gets its answer at once.
"""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pooch
import requests
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from jaxstyle.atomic import write_whole
from jaxstyle.backbones.perceptual import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.weights.port import convert
from jaxstyle.weights.registry import Entry, Published, registry
from jaxstyle.weights.store import cache_dir, read_weights, sha256, write_weights
from jaxstyle.weights.verify import notes_of

try:
    import fcntl
except ImportError:  # Windows: two processes then download twice, each into a file of its own
    fcntl = None  # type: ignore[assignment]

TIMEOUT = (10, 30)  # seconds to connect, and between two pieces of the answer
PIECE = 1 << 16


def fetch(
    name: str, *, file: Path | None = None, entries: dict[str, Entry] | None = None,
    progress: bool = False,
) -> Weights:
    """Weights of the registry, downloaded once into the cache folder; from `file` for the offline.

    What the cache holds already is taken if its hash is right and fetched again if not. When the
    cache folder cannot be written, a warning is given and the weights exist in memory only.

    Raises:
      JaxstyleError: unknown name, no mirror answers, or a file with another hash.
    """
    known = registry() if entries is None else entries
    if name not in known:
        raise JaxstyleError(f"no weights called '{name}' to fetch; there are {', '.join(known)}")
    entry, target = known[name], cache_dir() / "weights" / f"{name}.safetensors"
    if file is not None and not file.is_file():
        raise JaxstyleError(f"{file}: no such file")
    if file is None and (cached := _cached(target)):
        return cached
    if not _writable(target.parent):
        warnings.warn(
            f"the cache folder {target.parent} cannot be written: {name} stays in memory for this run",
            stacklevel=2,
        )
        with tempfile.TemporaryDirectory() as folder:
            return _obtain(name, entry, Path(folder) / target.name, file, progress)
    with _alone(target.with_name(f".{name}.lock")):
        # Another process may have fetched it while this one waited.
        if file is None and (cached := _cached(target, warn=False)):
            return cached
        return _obtain(name, entry, target, file, progress)


def _writable(folder: Path) -> bool:
    """Whether files can be made in a folder, which is made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """While other processes that want the same wait. The lock ends with the process, however it ends."""
    with open(lock, "a") as file:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _cached(target: Path, warn: bool = True) -> Weights | None:
    """The cached weights, if they are there and whole."""
    if not target.exists():
        return None
    try:
        return read_weights(target, target.stem)
    except JaxstyleError as error:
        if warn:
            warnings.warn(f"{error}; fetching {target.stem} again", stacklevel=3)
        return None


def _obtain(name: str, entry: Entry, target: Path, file: Path | None, progress: bool) -> Weights:
    """Port the given file, or else the first mirror's that arrives whole, into `target`."""
    if file is not None:
        return _port(name, entry, _matching(entry, file), file, target)
    failures = []
    for published in entry.files:
        try:
            source = _download(name, published, target.parent, progress)
        except (OSError, ValueError) as error:  # requests' errors are OSErrors, pooch's ValueErrors
            failures.append(f"{urlsplit(published.url).hostname}: {_reason(error)}")
            continue
        try:
            return _port(name, entry, published, source, target)
        finally:
            source.unlink()
    raise JaxstyleError(
        f"{name} cannot be downloaded ({'; '.join(failures)}); where there is network, get "
        f"{entry.files[0].url} and then give it with `jaxstyle weights fetch {name} --file FILE`"
    )


def _port(name: str, entry: Entry, published: Published, source: Path, target: Path) -> Weights:
    """Convert a checked file and write it as `target`."""
    weights, _, notes = convert(source, name, entry.architecture, published.convention)
    notes |= {"licence": entry.licence, "origin": entry.origin, "url": published.url}
    notes |= notes_of(weights)
    write_weights(target, weights, entry.architecture, **notes)
    return read_weights(target, name)


def _matching(entry: Entry, file: Path) -> Published:
    """Which of an entry's files a given file is, by its hash; one of unknown hash, by its name."""
    expected = []
    for published in entry.files:
        if not published.hash:
            if urlsplit(published.url).path.endswith(f"/{file.name}"):
                return published
            continue
        algorithm, _, digest = published.hash.partition(":")
        if pooch.file_hash(str(file), alg=algorithm) == digest:
            return published
        expected.append(published.hash)
    raise JaxstyleError(
        f"{file}: not one of this network's files: expected {' or '.join(sorted(set(expected)))}, "
        f"found sha256:{sha256(file)}; `jaxstyle weights port` takes any file"
    )


def _download(name: str, published: Published, folder: Path, progress: bool) -> Path:
    """One file of one mirror, checked against its hash; broken downloads are continued.

    The part that arrived lies beside the target under a name made from the hash, so that another
    mirror of the same file can go on with it.
    """
    pooch.get_logger().setLevel("WARNING")
    known = published.hash or _recorded(folder).get(published.url)
    file_name = f"{name}-{Path(urlsplit(published.url).path).name}"
    private = "" if fcntl else f".{os.getpid()}"
    part = folder / f".{(known or file_name).replace(':', '-')}{private}.part"
    source = pooch.retrieve(published.url, known or None, f".{file_name}{private}", folder,
                            downloader=_downloader(part, known, progress))
    if not known:
        _record(folder, published.url, source)
    return Path(source)


def _downloader(part: Path, known: str | None, progress: bool) -> Callable[[str, str, Any], None]:
    """A pooch downloader that continues `part` and starts afresh once if the result is wrong."""
    def download(url: str, output: str, _: Any) -> None:
        resumed = part.exists()
        _stream(url, part, progress)
        if resumed and not pooch.hashes.hash_matches(str(part), known):
            part.unlink()
            _stream(url, part, progress)
        os.replace(part, output)

    return download


def _stream(url: str, part: Path, progress: bool) -> None:
    """Append to `part` what a server still has of a file."""
    start = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if start and answer.status_code == requests.codes.requested_range_not_satisfiable:
            return  # nothing is missing; the hash decides
        answer.raise_for_status()
        continues = answer.status_code == requests.codes.partial_content
        size = answer.headers.get("Content-Length")
        total = int(size) + (start if continues else 0) if size else None
        with open(part, "ab" if continues else "wb") as file, _bar(part, total, progress) as advance:
            advance(file.tell())
            for piece in answer.iter_content(PIECE):
                file.write(piece)
                advance(len(piece))
    if total and part.stat().st_size < total:
        raise OSError(f"broke off at {part.stat().st_size} of {total} bytes, fetch again to go on")


@contextmanager
def _bar(part: Path, total: int | None, progress: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar of bytes, speed and time left."""
    columns = (TextColumn("download"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
               TimeRemainingColumn())
    with Progress(*columns, disable=not progress) as bar:
        task = bar.add_task(part.name, total=total)
        yield lambda count: bar.advance(task, count)


def _recorded(folder: Path) -> dict[str, str]:
    """Hashes of files whose publisher states none, as they were when first fetched."""
    try:
        content = json.loads((folder / "checksums.json").read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _record(folder: Path, url: str, source: str) -> None:
    digest = f"sha256:{sha256(source)}"
    content = {**_recorded(folder), url: digest}
    write_whole(folder / "checksums.json", json.dumps(content, indent=1).encode())
    warnings.warn(
        f"no checksum is known for {url}: took what came, {digest}, and will insist on it from now on",
        stacklevel=2,
    )


def _reason(error: Exception) -> str:
    """Why a mirror failed, in a few words."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"answered {error.response.status_code}"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "broke off, fetch again to go on"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    if isinstance(error, ValueError):
        return "sent a file with a wrong checksum"
    return str(error).splitlines()[0]

