"""Perceptual networks with their parameters: one safetensors file each, found by name.

A file holds the tensors `conv1_1/kernel` (`[kh, kw, in, out]`), `conv1_1/bias`, … and
`preprocess/kernel` `[3, 3]`, `preprocess/bias` `[3]`: the affine map from RGB in [0, 1] to what the
network was trained on. So the input convention belongs to the file and no caller can get it wrong.
Its metadata says which architecture to build and where the numbers come from.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from jaxstyle import backbones
from jaxstyle.atomic import write_whole
from jaxstyle.backbones.perceptual import Weights, attributes_of, random_weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.reading import check_regular, open_regular, parsed, shown
from jaxstyle.weights import SUFFIX

TYPES = ("F64", "F32", "F16", "BF16")
MAX_CONFIG = 10_000


def cache_dir() -> Path:
    """$JAXSTYLE_CACHE, else jaxstyle under $XDG_CACHE_HOME or ~/.cache."""
    if explicit := os.environ.get("JAXSTYLE_CACHE"):
        return Path(explicit)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxstyle"


def bundled_dir() -> Path:
    """The folder of weights that come with the package."""
    return Path(str(importlib.resources.files("jaxstyle_weights")))


def available() -> dict[str, Path | None]:
    """Every name `load_weights` takes without a path, with its file (None: made in place)."""
    folders = (cache_dir() / "weights", bundled_dir())
    files = {path.stem: path for folder in folders for path in sorted(folder.glob(f"*{SUFFIX}"))}
    return {**files, "random": None}


def load_weights(name: str | os.PathLike[str]) -> Weights:
    """Weights by name (see `available`) or from a `.safetensors` file.

    Raises:
      JaxstyleError: unknown name, missing or damaged file; the message says what can be done.
    """
    path = weights_path(name)
    return random_weights() if path is None else read_weights(path, name=str(name))


def best_available() -> str:
    """The full network if it was fetched, else the bundled one, else random numbers."""
    names = available()
    return next(name for name in ("vgg19", "vgg19-slim", "random") if name in names)


def weights_path(name: str | os.PathLike[str]) -> Path | None:
    """The file of weights by name or path; None for the random ones, which are made in place.

    Raises:
      JaxstyleError: unknown name.
    """
    path = Path(name)
    if path.suffix != SUFFIX:
        known = available()
        if str(name) not in known:
            raise JaxstyleError(
                f"no weights called '{name}' here (there are: {', '.join(known)}); get published ones "
                "with `jaxstyle weights fetch vgg19` (`jaxstyle weights list` names them all), or make "
                "them from a file of another program with `jaxstyle weights port FILE`, or use the "
                "bundled network, vgg19-slim", "weights"
            )
        return known[str(name)]
    return path


def read_weights(path: Path, name: str) -> Weights:
    """Weights from one safetensors file: the one check that every use of weights goes through.

    The file must name a network and hold exactly its tensors, in their shapes, as finite numbers of one of
    `TYPES` (all become float32). Shapes are compared before any number is read.

    Raises:
      JaxstyleError: it does not; the message names the tensor.
    """
    with _opened(path) as file:
        metadata = file.metadata() or {}
        network = _network(path, metadata)
        _check_tensors(path, file, _tensor_shapes(path, network))
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    if metadata.get("content_sha256", content := content_sha256(tensors)) != content:
        raise JaxstyleError(
            f"{path}: damaged: its numbers have the hash {content[:12]}…, expected "
            f"{metadata['content_sha256'][:12]}…; fetch or port it again"
        )
    for key, tensor in tensors.items():
        if not np.isfinite(tensor.astype(np.float32)).all():
            raise JaxstyleError(f"{path}: {key}: expected finite numbers, found nan or inf; port it again")
    params = unflatten_dict({tuple(key.rsplit("/", 1)): jnp.asarray(value, jnp.float32)
                             for key, value in tensors.items()})
    preprocess = params.pop("preprocess")
    return Weights(params=params, matrix=preprocess["kernel"], offset=preprocess["bias"],
                   network=network, name=name, sha256=_identity(content, metadata))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A safetensors file; whatever is wrong with its bytes is one kind of error."""
    check_regular(path)
    try:
        with safe_open(str(path), framework="numpy") as file:
            yield file
    except (SafetensorError, OSError, ValueError, RecursionError, MemoryError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise JaxstyleError(f"{path}: not a complete safetensors file ({shown(reason)})") from None


def _network(path: Path, metadata: Mapping[str, str]) -> nn.Module:
    """The module that a file's metadata describe.

    Raises:
      JaxstyleError: none, or one that this version cannot build.
    """
    if "architecture" not in metadata:
        raise JaxstyleError(f"{path}: names no architecture; make it with `jaxstyle weights port`")
    config = metadata.get("config", "{}")
    if len(config) > MAX_CONFIG:
        raise JaxstyleError(f"{path}: config: longer than {MAX_CONFIG} characters")
    try:
        return backbones.build(metadata["architecture"], parsed(config, dict[str, Any], "config"))
    except JaxstyleError as error:
        raise JaxstyleError(f"{path}: {shown(error)}") from None


def _tensor_shapes(path: Path, network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that a file of a network holds."""
    try:
        layers = backbones.parameter_shapes(network)
    except Exception as error:  # noqa: BLE001  what flax and JAX make of a network that nobody can have trained
        raise JaxstyleError(f"{path}: config: describes no network ({shown(_first_line(error))})") from None
    shapes = {"preprocess/kernel": (3, 3), "preprocess/bias": (3,)}
    for layer, shape in layers.items():
        shapes |= {f"{layer}/kernel": shape, f"{layer}/bias": shape[-1:]}
    return shapes


def _check_tensors(path: Path, file: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raises:
      JaxstyleError: a tensor is missing, too many, of another shape or of another type.
    """
    names = set(file.keys())
    if missing := [name for name in shapes if name not in names]:
        raise JaxstyleError(f"{path}: {missing[0]} is missing ({len(missing)} of {len(shapes)} tensors are); "
                            "port it again")
    if extra := sorted(names - shapes.keys()):
        raise JaxstyleError(f"{path}: {shown(extra[0])} is no tensor of this network; port it again")
    for name, expected in shapes.items():
        tensor = file.get_slice(name)
        if (found := tuple(tensor.get_shape())) != tuple(expected):
            raise JaxstyleError(f"{path}: {name}: expected the shape {tuple(expected)}, found {shown(found)}")
        if (kind := tensor.get_dtype()) not in TYPES:
            raise JaxstyleError(f"{path}: {name}: numbers of type {kind}; expected {', '.join(TYPES)}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _identity(content: str, metadata: Mapping[str, str]) -> str:
    """Hash of everything in a file that features depend on."""
    parts = (content, metadata["architecture"], metadata.get("config", "{}"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def read_notes(path: Path) -> dict[str, str]:
    """The metadata of a weights file: architecture, convention, licence, origin and so on.

    Raises:
      JaxstyleError: missing, or not a safetensors file.
    """
    with _opened(path) as file:
        return file.metadata() or {}


def write_weights(path: Path, weights: Weights, architecture: str, **metadata: str) -> None:
    """Write one safetensors file, atomically, with `metadata`.

    The module's attributes (`config`) and the hash of all numbers (`content_sha256`) are added.

    Raises:
      JaxstyleError: the folder or the file cannot be written.
    """
    flat = flatten_dict(weights.params)
    tensors = {"/".join(key): np.asarray(value) for key, value in flat.items()}
    tensors["preprocess/kernel"] = np.asarray(weights.matrix)
    tensors["preprocess/bias"] = np.asarray(weights.offset)
    config = json.dumps(attributes_of(weights.network))
    metadata = {**metadata, "architecture": architecture, "config": config,
                "content_sha256": content_sha256(tensors)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JaxstyleError(f"{path}: cannot be written ({error.strerror})") from None
    write_whole(path, _serialise(tensors, metadata))


def content_sha256(tensors: Mapping[str, np.ndarray]) -> str:
    """Hex SHA-256 of named arrays: names, shapes, types and numbers."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())  # bfloat16 has no buffer
    return digest.hexdigest()


def _serialise(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    """A safetensors file whose bytes depend on its content alone: its header is sorted."""
    data = save({key: np.ascontiguousarray(value) for key, value in tensors.items()}, metadata)
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":"))
    header += " " * (-len(header.encode()) % 8)
    return len(header.encode()).to_bytes(8, "little") + header.encode() + data[8 + length :]


def sha256(path: str | os.PathLike[str]) -> str:
    """Hex SHA-256 of a file's bytes."""
    return digest(path, "sha256")


def digest(path: str | os.PathLike[str], algorithm: str) -> str:
    """Hex digest of a regular file's bytes by an algorithm of `hashlib`.

    Raises:
      JaxstyleError: see `open_regular`.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(cast(Any, file), algorithm).hexdigest()
