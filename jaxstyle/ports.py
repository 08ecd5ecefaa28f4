"""Published weights of other programs → one checked safetensors file.

A port knows three things that go wrong silently elsewhere: the order of a filter's axes (found
from the shapes, for the whole file at once), what the network was trained on (`CONVENTIONS`,
written into the file), and which layers there must be.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxstyle import backbones
from jaxstyle.backbones import VGG, VGG16, VGG19, parameter_shapes
from jaxstyle.errors import JaxstyleError
from jaxstyle.naming import guess_architecture, own_name
from jaxstyle.sources import Source, read_source
from jaxstyle.weights import CONVENTIONS, Weights, read_weights, sha256, write_weights

ARCHITECTURES = ("vgg19", "vgg16", "alexnet", "resnet50", "squeezenet1_1", "googlenet")
LAYOUTS = {"OIHW": (2, 3, 1, 0), "HWIO": (0, 1, 2, 3)}
TRANSPOSED = {
    "IOHW": (2, 3, 0, 1), "HWOI": (0, 1, 3, 2), "OHWI": (1, 2, 3, 0), "IHWO": (1, 2, 0, 3)
}
Layers = dict[str, dict[str, np.ndarray]]


def port(
    source: Path, target: Path, arch: str | None = None, *, convention: str | None = None,
    border: str | None = None, licence: str = "", origin: str = "",
) -> Weights:
    """Write the weights of another program's file as this project's own, and give them back.

    Args:
      source: Keras .h5, PyTorch .pth, MatConvNet .mat, NumPy .npz or .npy, Caffe .caffemodel.
      target: the safetensors file to write, atomically.
      arch: one of `ARCHITECTURES`; None finds it from the layer names or the file's name.
      convention: a key of `CONVENTIONS`; None takes what files of this format are made for, or the
        file's own `preprocess` convolution where there is one.
      border: "zero", "reflect" or "replicate"; None takes zero, and reflect for a file with its own
        `preprocess` convolution, because networks published that way were made for it.

    Raises:
      JaxstyleError: a damaged file, a layer that is missing or of another shape, an unknown name.
    """
    read = read_source(source)
    arch = _architecture(read, source, arch)
    own = {role: read.arrays.pop(f"preprocess/{role}", None) for role in ("weight", "bias")}
    network = _network(arch, read, border or ("zero" if own["weight"] is None else "reflect"))
    shapes = parameter_shapes(network)
    layers = _rename(arch, read, shapes)
    params = arrange(layers, shapes, source)
    matrix, offset, convention = _convention(own, convention, arch, read.format, source)
    weights = Weights(
        params=jax.tree.map(jnp.asarray, params), matrix=jnp.asarray(matrix),
        offset=jnp.asarray(offset), network=network, name=target.stem, sha256="",
    )
    write_weights(
        target, weights, arch, convention=convention, licence=licence, source=source.name,
        origin=origin or f"{source.name} ({read.format})", source_sha256=sha256(source),
    )
    return read_weights(target, target.stem)


def _architecture(read: Source, path: Path, asked: str | None) -> str:
    """The architecture asked for, or else the one that the file's layers speak of."""
    names = {name.rpartition("/")[0] for name in read.arrays}
    arch = asked or guess_architecture(names, path.name)
    if arch is None:
        raise JaxstyleError(
            f"{path}: cannot tell the architecture from its layers; say --arch with one of "
            f"{', '.join(ARCHITECTURES)}"
        )
    if arch not in ARCHITECTURES:
        raise JaxstyleError(f"unknown architecture '{arch}'; there are {', '.join(ARCHITECTURES)}")
    return arch


def _network(arch: str, read: Source, border: str) -> nn.Module:
    """The module for a file; VGG takes widths, depth and 1×1 maps from a NumPy dictionary."""
    if arch.startswith("vgg") and read.format in ("npz", "npy"):
        return _vgg_of(arch, read, border)
    return backbones.build(arch, {"border": border})


def _vgg_of(arch: str, read: Source, border: str) -> VGG:
    """VGG as wide and as deep as a file: its widths are the lengths of the biases."""
    full = backbones.build(arch, {})
    widths: dict[str, int] = {}
    for name, array in read.arrays.items():
        layer, _, role = name.rpartition("/")
        if role == "bias" and layer.startswith(("conv", "block", "features")):
            known = {f"{layer_}{end}" for layer_ in full.layers for end in ("", "_aux")}
            if own := own_name(arch, layer, known):
                widths[own[0]] = len(array)
    standard = {"vgg16": VGG16, "vgg19": VGG19}[arch]
    blocks = [
        tuple(widths[name] for j in range(1, len(block) + 1) if (name := f"conv{i}_{j}") in widths)
        for i, block in enumerate(standard, start=1)
    ]
    while blocks and not blocks[-1]:
        blocks.pop()
    maps = sorted(name for name in widths if name.endswith("_aux"))
    aux = tuple((name.removesuffix("_aux"), widths[name]) for name in maps)
    complete = [len(block) for block in blocks] == [len(block) for block in standard]
    network = VGG(blocks=tuple(blocks), border=border, aux=aux)
    last = "" if complete else network.layers[-2]
    return network.clone(last=last)


def _rename(arch: str, read: Source, shapes: Mapping[str, Any]) -> Layers:
    """Arrays by own layer name; the roles of batch normalisation get the prefix `bn_`."""
    layers: Layers = {}
    for name, array in read.arrays.items():
        layer, _, role = name.rpartition("/")
        if own := own_name(arch, layer, shapes.keys()):
            layers.setdefault(own[0], {})[f"bn_{role}" if own[1] else role] = array
    return layers


def arrange(layers: Layers, shapes: Mapping[str, tuple[int, ...]], path: Path) -> Layers:
    """Parameters `{"kernel": [kh, kw, in, out], "bias": [out]}` of every layer that a network has.

    Raises:
      JaxstyleError: a layer that is missing, of another shape, not finite, or with exchanged axes.
    """
    if missing := [name for name in shapes if name not in layers]:
        raise JaxstyleError(
            f"{path}: layer {missing[0]} is missing: expected {len(shapes)} layers, found "
            f"{len(shapes) - len(missing)}"
        )
    for name in shapes:
        if lacking := {"weight", "bias"} - layers[name].keys():
            raise JaxstyleError(f"{path}: layer {name} has no {min(lacking)}")
    order = LAYOUTS[_layout({name: layers[name]["weight"] for name in shapes}, shapes, path)]
    arranged: Layers = {}
    for name, shape in shapes.items():
        kernel = layers[name]["weight"].transpose(order)
        bias = layers[name]["bias"].reshape(-1)
        if bias.shape != shape[-1:]:
            raise JaxstyleError(
                f"{path}: {name}/bias: expected {shape[-1]} numbers, found {len(bias)}"
            )
        for part in (kernel, bias):
            if not np.isfinite(part).all():
                raise JaxstyleError(f"{path}: layer {name} holds numbers that are not finite")
        arranged[name] = {"kernel": np.ascontiguousarray(kernel, np.float32),
                          "bias": bias.astype(np.float32)}
    return arranged


def _layout(
    kernels: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], path: Path
) -> str:
    """The one order of axes that makes every kernel of a file the shape that its layer needs."""
    def misfits(order: tuple[int, ...]) -> list[str]:
        return [name for name, kernel in kernels.items() if kernel.ndim != 4
                or tuple(kernel.shape[axis] for axis in order) != tuple(shapes[name])]

    wrong = {name: misfits(order) for name, order in (LAYOUTS | TRANSPOSED).items()}
    fitting = [name for name in LAYOUTS if not wrong[name]]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise JaxstyleError(f"{path}: the shapes fit filters stored as OIHW and as HWIO")
    for name in TRANSPOSED:
        if not wrong[name]:
            raise JaxstyleError(
                f"{path}: transposed filters: expected the order OIHW or HWIO, found {name}"
            )
    closest = min(LAYOUTS, key=lambda name: len(wrong[name]))
    layer = wrong[closest][0]
    expected = tuple(shapes[layer][LAYOUTS[closest].index(axis)] for axis in range(4))
    raise JaxstyleError(
        f"{path}: {layer}/weight: expected {expected} ({closest}), found {kernels[layer].shape}"
    )


def _convention(
    preprocess: Mapping[str, np.ndarray | None], convention: str | None, arch: str, format: str,
    path: Path,
) -> tuple[np.ndarray, np.ndarray, str]:
    """Matrix `[3, 3]` and offset `[3]` of the input, and the name of the convention."""
    weight, bias = preprocess["weight"], preprocess["bias"]
    if convention is None and weight is not None and bias is not None:
        if sorted(weight.shape) != [1, 1, 3, 3] or bias.shape != (3,):
            raise JaxstyleError(
                f"{path}: preprocess/weight: expected (3, 3, 1, 1) or (1, 1, 3, 3), found "
                f"{weight.shape}"
            )
        matrix = weight[:, :, 0, 0].T if weight.shape[0] == 3 else weight[0, 0]
        return matrix.astype(np.float32), bias.astype(np.float32), "own"
    name = convention or default_convention(arch, format)
    if name not in CONVENTIONS:
        raise JaxstyleError(
            f"unknown input convention '{name}'; there are {', '.join(CONVENTIONS)}"
        )
    return *CONVENTIONS[name], name


def default_convention(arch: str, format: str) -> str:
    """What published files of this format and architecture were trained on."""
    if arch in ("squeezenet1_1", "googlenet") and format != "pytorch":
        return "caffe-104-117-123"
    return "torchvision" if format == "pytorch" else "caffe-vgg"
