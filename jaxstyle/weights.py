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
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from jaxstyle import backbones, ops
from jaxstyle.atomic import write_whole
from jaxstyle.errors import JaxstyleError
from jaxstyle.pytrees import pytree, static

# RGB in [0, 1] to what each family of published weights was trained on: x @ kernel + bias.
CAFFE_BGR = np.array([[0, 0, 255], [0, 255, 0], [255, 0, 0]], np.float32)
CONVENTIONS = {
    "caffe-vgg": (CAFFE_BGR, np.array([-103.939, -116.779, -123.68], np.float32)),
    "matconvnet": (
        np.diag([255, 255, 255]).astype(np.float32),
        np.array([-123.68, -116.779, -103.939], np.float32),
    ),
    "caffe-104-117-123": (CAFFE_BGR, np.array([-104, -117, -123], np.float32)),
    "torchvision": (
        np.diag(1 / np.array([0.229, 0.224, 0.225])).astype(np.float32),
        -np.array([0.485 / 0.229, 0.456 / 0.224, 0.406 / 0.225], np.float32),
    ),
}


@pytree
class Weights:
    """A network with its parameters and its own preprocessing.

    Attributes:
      params: layer name -> {"kernel", "bias"}.
      matrix: `[3, 3]`, offset: `[3]`: network input = image @ matrix + offset.
      network: the Flax module.
      name: how the user asked for it.
      sha256: of its numbers, architecture and configuration, but not of remarks such as the licence
        ("" for random numbers made in place).
    """

    params: dict[str, Any]
    matrix: Array
    offset: Array
    network: nn.Module = static()
    name: str = static(default="")
    sha256: str = static(default="")

    def features(self, image: Array, layers: tuple[str, ...]) -> dict[str, Array]:
        """Features `[h, w, c]` of an image `[H, W, 3]` (RGB in [0, 1]) at the named layers.

        Raises:
          JaxstyleError: a layer the network does not have, or an image too small for a layer.
        """
        known = self.network.layers
        for layer in layers:
            if layer not in known:
                raise JaxstyleError(
                    f"network '{self.name}' has no layer '{layer}'; it has {', '.join(known)}"
                )
        matrix, offset = self.matrix.astype(image.dtype), self.offset.astype(image.dtype)
        variables = {"params": self.params}
        found: Any = self.network.apply(variables, image @ matrix + offset, tuple(layers))
        for layer, feature in found.items():
            if 0 in feature.shape:
                raise JaxstyleError(
                    f"an image of {image.shape[1]}×{image.shape[0]} pixels is too small for layer "
                    f"{layer}; use a larger --size"
                )
        return found

    def prepared(self, precision: str = "float32", layers: tuple[str, ...] = ()) -> Weights:
        """The same network with its parameters in the form that computes fastest: `ops.prepare`.

        If `layers` are given, without the parameters of those that come after the last of them.
        """
        params = ops.prepare(self.params_up_to(layers), precision)
        return Weights(params=params, matrix=self.matrix, offset=self.offset, network=self.network,
                       name=self.name, sha256=self.sha256)

    def params_up_to(self, layers: tuple[str, ...] = ()) -> dict[str, Any]:
        """The parameters without those of layers that come after the last of `layers`; none given: all."""
        order = self.network.layers
        last = max((order.index(name) for name in layers if name in order), default=len(order))
        return {name: layer for name, layer in self.params.items() if order.index(name) <= last}

    def with_network(self, **attributes: Any) -> Weights:
        """The same parameters in a network with other attributes: pooling="average"; None keeps.

        Raises:
          JaxstyleError: an attribute that this network does not have, or a value it does not know.
        """
        changed = {key: value for key, value in attributes.items() if value is not None}
        known = attributes_of(self.network)
        for key in changed:
            if key not in known:
                kind = type(self.network).__name__.lower()
                raise JaxstyleError(
                    f"network '{kind}' has no '{key}'; it has {', '.join(known)}"
                )
        network = backbones.checked(self.network.clone(**changed))
        return Weights(params=self.params, matrix=self.matrix, offset=self.offset, network=network,
                       name=self.name, sha256=self.sha256)


def random_weights(seed: int = 0, network: nn.Module | None = None) -> Weights:
    """Seeded random parameters, He-normal with zero bias: features keep unit scale at any depth.

    Textures and Gram losses already work on such a network; it needs no download.
    """
    network = network or backbones.VGG(border="reflect")
    matrix, offset = CONVENTIONS["torchvision"]
    generator = np.random.default_rng(seed)
    params = {}
    for layer, shape in backbones.parameter_shapes(network).items():
        scale = np.float32(np.sqrt(2 / np.prod(shape[:3])))
        kernel = scale * generator.standard_normal(shape, np.float32)
        params[layer] = {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(shape[-1])}
    return Weights(params=params, matrix=jnp.asarray(matrix), offset=jnp.asarray(offset),
                   network=network, name="random", sha256="")


def attributes_of(network: nn.Module) -> dict[str, Any]:
    """What a network can be set to: the fields of its module."""
    return {field: getattr(network, field) for field in type(network).__dataclass_fields__
            if field not in ("parent", "name")}


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
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
