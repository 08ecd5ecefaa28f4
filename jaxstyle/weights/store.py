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
from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from jaxstyle import backbones
from jaxstyle.atomic import write_whole
from jaxstyle.backbones.perceptual import Weights, attributes_of, random_weights
from jaxstyle.errors import JaxstyleError


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
    files = {path.stem: path for folder in folders for path in sorted(folder.glob("*.safetensors"))}
    return {**files, "random": None}


def load_weights(name: str | os.PathLike) -> Weights:
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


def weights_path(name: str | os.PathLike) -> Path | None:
    """The file of weights by name or path; None for the random ones, which are made in place.

    Raises:
      JaxstyleError: unknown name.
    """
    path = Path(name)
    if path.suffix != ".safetensors":
        known = available()
        if str(name) not in known:
            raise JaxstyleError(
                f"no weights called '{name}' here (there are: {', '.join(known)}); get published ones "
                "with `jaxstyle weights fetch vgg19` (`jaxstyle weights list` names them all), or make "
                "them from a file of another program with `jaxstyle weights port FILE`, or use the "
                "bundled network: --weights vgg19-slim"
            )
        return known[str(name)]
    return path


def read_weights(path: Path, name: str) -> Weights:
    """Weights from one safetensors file.

    Raises:
      JaxstyleError: not a safetensors file, truncated, or without the project's metadata.
    """
    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise JaxstyleError(f"{path}: no such weights file") from None
    except (SafetensorError, OSError) as error:
        raise JaxstyleError(f"{path}: not a complete safetensors file ({error})") from None
    if "architecture" not in metadata:
        raise JaxstyleError(f"{path}: names no architecture; make it with `jaxstyle weights port`")
    if metadata.get("content_sha256", content := content_sha256(tensors)) != content:
        raise JaxstyleError(
            f"{path}: damaged: its numbers have the hash {content[:12]}…, expected "
            f"{metadata['content_sha256'][:12]}…; fetch or port it again"
        )
    try:
        network = backbones.build(metadata["architecture"], json.loads(metadata.get("config", "{}")))
    except (JaxstyleError, ValueError) as error:
        raise JaxstyleError(f"{path}: {error}") from None
    params = unflatten_dict({tuple(key.rsplit("/", 1)): jnp.asarray(value, jnp.float32)
                             for key, value in tensors.items()})
    preprocess = params.pop("preprocess", {})
    if preprocess.keys() != {"kernel", "bias"}:
        raise JaxstyleError(f"{path}: has no preprocess/kernel and preprocess/bias; port it again")
    return Weights(params=params, matrix=preprocess["kernel"], offset=preprocess["bias"],
                   network=network, name=name, sha256=_identity(content, metadata))


def _identity(content: str, metadata: Mapping[str, str]) -> str:
    """Hash of everything in a file that features depend on."""
    parts = (content, metadata["architecture"], metadata.get("config", "{}"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def read_notes(path: Path) -> dict[str, str]:
    """The metadata of a weights file: architecture, convention, licence, origin and so on.

    Raises:
      JaxstyleError: missing, or not a safetensors file.
    """
    try:
        with safe_open(str(path), framework="numpy") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise JaxstyleError(f"{path}: not a complete safetensors file ({error})") from None


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
        digest.update(array.data)
    return digest.hexdigest()


def _serialise(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    """A safetensors file whose bytes depend on its content alone: its header is sorted."""
    data = save({key: np.ascontiguousarray(value) for key, value in tensors.items()}, metadata)
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":"))
    header += " " * (-len(header.encode()) % 8)
    return len(header.encode()).to_bytes(8, "little") + header.encode() + data[8 + length :]


def sha256(path: str | os.PathLike) -> str:
    """Hex SHA-256 of a file's bytes."""
    return digest(path, "sha256")


def digest(path: str | os.PathLike, algorithm: str) -> str:
    """Hex digest of a file's bytes by an algorithm of `hashlib`."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
