"""Downloads of published weights: checked, one process at a time, then ported.

Proxies are those of the environment (HTTPS_PROXY, NO_PROXY). Every mirror is asked once: a machine
without network gets its answer at once.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jaxstyle.atomic import write_whole
from jaxstyle.backbones.perceptual import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.weights import SUFFIX
from jaxstyle.weights.port import convert
from jaxstyle.weights.registry import Entry, Published, registry
from jaxstyle.weights.store import cache_dir, digest, read_weights, sha256, write_weights
from jaxstyle.weights.verify import notes_of

TIMEOUT = (10, 30)  # seconds to connect, and between two pieces of the answer
PIECE = 1 << 16
MAX_BYTES = 4 << 30
SCHEMES = ("https",)


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
    from filelock import FileLock

    known = registry() if entries is None else entries
    if name not in known:
        raise JaxstyleError(f"no weights called '{name}' to fetch; there are {', '.join(known)}")
    entry, target = known[name], cache_dir() / "weights" / f"{name}{SUFFIX}"
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
    with FileLock(target.with_name(f".{name}.lock")):
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
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=target.parent) as folder:
            try:
                source = _download(name, published, Path(folder), progress)
            except (OSError, ValueError) as error:  # requests' errors are OSErrors, pooch's ValueErrors
                failures.append(f"{urlsplit(published.url).hostname}: {_reason(error)}")
                continue
            return _port(name, entry, published, source, target)
    raise JaxstyleError(
        f"{name} cannot be downloaded ({'; '.join(failures)}); where there is network, get "
        f"{entry.files[0].url} and then give that file to `jaxstyle weights fetch {name}`", "file"
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
        algorithm, _, expected_digest = published.hash.partition(":")
        if digest(file, algorithm) == expected_digest:
            return published
        expected.append(published.hash)
    raise JaxstyleError(
        f"{file}: not one of this network's files: expected {' or '.join(sorted(set(expected)))}, "
        f"found sha256:{sha256(file)}; `jaxstyle weights port` takes any file"
    )


def _download(name: str, published: Published, folder: Path, progress: bool) -> Path:
    """One file of one mirror in a folder, checked against its hash."""
    import pooch

    if urlsplit(published.url).scheme not in SCHEMES:
        raise OSError(f"{published.url} is no https address")
    pooch.get_logger().setLevel("WARNING")
    recorded = cache_dir() / "weights" / "checksums.json"
    known = published.hash or _recorded(recorded).get(published.url)
    file_name = f"{name}-{Path(urlsplit(published.url).path).name}"
    with Transfer(file_name, progress) as transfer:
        downloader = pooch.HTTPDownloader(
            progressbar=transfer, chunk_size=PIECE, timeout=TIMEOUT, hooks={"response": _secure}
        )
        source = pooch.retrieve(published.url, known or None, file_name, folder, downloader=downloader)
    if not known:
        _record(recorded, published.url, source)
    return Path(source)


def _secure(answer: Any, **_: Any) -> None:
    """Refuse what a redirection away from encrypted connections brings."""
    if urlsplit(answer.url).scheme not in SCHEMES:
        raise OSError(f"{answer.url} is no https address")


class Transfer:
    """What pooch tells about a download: shown as a bar of bytes, speed and time left, and kept in bounds."""

    def __init__(self, name: str, shown: bool) -> None:
        from rich import progress

        columns = ("download", progress.BarColumn(), progress.DownloadColumn(),
                   progress.TransferSpeedColumn(), progress.TimeRemainingColumn())
        self.bar = progress.Progress(*columns, disable=not shown)
        self.task = self.bar.add_task(name, total=None)
        self.arrived, self.total = 0, 0

    def __enter__(self) -> Transfer:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def update(self, count: int) -> None:
        """So many bytes more arrived."""
        self.arrived += count
        if max(self.arrived, self.total) > MAX_BYTES:
            raise OSError(f"sends more than {MAX_BYTES >> 30} GiB, which no network here has")
        self.bar.update(self.task, completed=self.arrived, total=self.total or None)

    def reset(self) -> None:
        """Pooch sets a bar to its end by `reset` and `update`: all has arrived, and was counted."""
        self.arrived = 0

    def close(self) -> None:
        """Nothing: the `with` statement ends the bar."""


def _recorded(path: Path) -> dict[str, str]:
    """Hashes of files whose publisher states none, as they were when first fetched."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _record(path: Path, url: str, source: str) -> None:
    found = f"sha256:{sha256(source)}"
    with contextlib.suppress(OSError):  # a cache folder that cannot be written
        write_whole(path, json.dumps({**_recorded(path), url: found}, indent=1).encode())
    warnings.warn(
        f"no checksum is known for {url}: took what came, {found}, and will insist on it from now on",
        stacklevel=2,
    )


def _reason(error: Exception) -> str:
    """Why a mirror failed, in a few words."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"answered {error.response.status_code}"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "broke off"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    if isinstance(error, ValueError):
        return "sent a file with a wrong checksum"
    return str(error).splitlines()[0]

