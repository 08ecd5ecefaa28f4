"""Published weights of other programs → one checked safetensors file.

A port knows three things that go wrong silently elsewhere: the order of a filter's axes (found
from the shapes, for the whole file at once), what the network was trained on (`CONVENTIONS`,
written into the file), and which layers there must be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxstyle import backbones
from jaxstyle.backbones import ARCHITECTURES, VGG, VGG16, VGG19, checked, parameter_shapes
from jaxstyle.backbones.perceptual import CONVENTIONS, Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.weights.formats.source import Source, read_source
from jaxstyle.weights.naming import guess_architecture, own_name
from jaxstyle.weights.store import digest, read_weights, sha256, write_weights
from jaxstyle.weights.verify import notes_of

LAYOUTS = {"OIHW": (2, 3, 1, 0), "HWIO": (0, 1, 2, 3)}
TRANSPOSED = {
    "IOHW": (2, 3, 0, 1), "HWOI": (0, 1, 3, 2), "OHWI": (1, 2, 3, 0), "IHWO": (1, 2, 0, 3)
}
FORMAT_LAYOUTS = {
    "keras": ("HWIO",), "matconvnet": ("HWIO",), "pytorch": ("OIHW",), "caffe": ("OIHW",)
}
NORMALISATION = ("weight", "bias", "running_mean", "running_var")
Layers = dict[str, dict[str, np.ndarray]]


@dataclass(frozen=True)
class Provenance:
    """Whose a file is: its licence, and where it was published."""

    licence: str = ""
    origin: str = ""


UNKNOWN = Provenance()


def port(
    source: Path, target: Path, arch: str | None = None, *, convention: str | None = None,
    border: str | None = None, provenance: Provenance = UNKNOWN,
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
      provenance: noted in the file.

    Raises:
      JaxstyleError: a damaged file, a layer that is missing or of another shape, an unknown name.
    """
    weights, arch, notes = convert(source, target.stem, arch, convention, border)
    notes |= {"licence": provenance.licence, "origin": provenance.origin or notes["source"]}
    notes |= notes_of(weights)
    write_weights(target, weights, arch, **notes)
    return read_weights(target, target.stem)


def convert(
    source: Path, name: str, arch: str | None = None, convention: str | None = None,
    border: str | None = None,
) -> tuple[Weights, str, dict[str, str]]:
    """What `port` does before it writes: weights, architecture and notes about the source."""
    read = read_source(source)
    arch = _architecture(read, source, arch)
    own = {role: read.arrays.pop(f"preprocess/{role}", None) for role in ("weight", "bias")}
    border = border or ("zero" if own["weight"] is None else "reflect")
    network = _network(arch, read, border, source)
    shapes = parameter_shapes(network)
    layers = fold_normalisation(_rename(arch, read, shapes), source)
    layouts = FORMAT_LAYOUTS.get(read.format, tuple(LAYOUTS))
    params = arrange(layers, shapes, source, layouts)
    matrix, offset, convention = _convention(own, convention, arch, read, source)
    weights = Weights(
        params=jax.tree.map(jnp.asarray, params), matrix=jnp.asarray(matrix),
        offset=jnp.asarray(offset), network=network, name=name, sha256="",
    )
    return weights, arch, {
        "convention": convention, "source": f"{source.name} ({read.format})",
        "source_sha256": sha256(source), "source_md5": digest(source, "md5"),
    }


def _architecture(read: Source, path: Path, asked: str | None) -> str:
    """The architecture asked for, or else the one that the file's layers speak of."""
    names = {name.rpartition("/")[0] for name in read.arrays}
    arch = asked or guess_architecture(names, path.name)
    if arch is None:
        raise JaxstyleError(
            f"{path}: cannot tell the architecture from its layers; say which of "
            f"{', '.join(ARCHITECTURES)} it is", "arch"
        )
    if arch not in ARCHITECTURES:
        raise JaxstyleError(f"unknown architecture '{arch}'; there are {', '.join(ARCHITECTURES)}")
    return arch


def _network(arch: str, read: Source, border: str, path: Path) -> nn.Module:
    """The module for a file; VGG takes widths, depth and 1×1 maps from a NumPy dictionary."""
    if arch.startswith("vgg") and read.format in ("npz", "npy"):
        return _vgg_of(arch, read, border, path)
    return backbones.build(arch, {"border": border})


def _vgg_of(arch: str, read: Source, border: str, path: Path) -> VGG:
    """VGG as wide and as deep as a file: its widths are the lengths of the biases."""
    standard = {"vgg16": VGG16, "vgg19": VGG19}[arch]
    order = [f"conv{i}_{j}" for i, block in enumerate(standard, start=1)
             for j in range(1, len(block) + 1)]
    known = [*order, *(f"{name}_aux" for name in order)]
    widths: dict[str, int] = {}
    for name, array in read.arrays.items():
        layer, _, role = name.rpartition("/")
        own = own_name(arch, layer, known) if role == "bias" else None
        if own:
            widths[own[0]] = array.size
    depth = max((i for i, name in enumerate(order, start=1) if name in widths), default=0)
    for name in order[: max(depth, 1)]:
        if name not in widths:
            raise JaxstyleError(
                f"{path}: layer {name} is missing: expected the layers of {arch}, conv1_1 to "
                f"{order[max(depth, 1) - 1]}, found {', '.join(sorted(widths)) or 'none of them'}"
            )
    blocks = [
        tuple(widths[name] for name in order[:depth] if name.startswith(f"conv{i}_"))
        for i in range(1, len(standard) + 1)
    ]
    maps = sorted(name for name in widths if name.endswith("_aux"))
    network = VGG(
        blocks=tuple(block for block in blocks if block), border=border,
        aux=tuple((name.removesuffix("_aux"), widths[name]) for name in maps),
    )
    checked(network)
    return network if depth == len(order) else network.clone(last=network.layers[-2])


def _rename(arch: str, read: Source, shapes: Mapping[str, Any]) -> Layers:
    """Arrays by own layer name; the roles of batch normalisation get the prefix `bn_`."""
    layers: Layers = {}
    for name, array in read.arrays.items():
        layer, _, role = name.rpartition("/")
        if own := own_name(arch, layer, shapes.keys()):
            layers.setdefault(own[0], {})[f"bn_{role}" if own[1] else role] = array
    return layers


def fold_normalisation(layers: Layers, path: Path, epsilon: float = 1e-5) -> Layers:
    """Batch normalisation made part of the convolution before it, whose filters are OIHW.

    γ (w∗x + b − μ) / √(σ² + ε) + β  =  (w s) ∗ x + (b − μ) s + β  with  s = γ / √(σ² + ε)
    """
    folded: Layers = {}
    for name, parts in layers.items():
        found = [parts[f"bn_{role}"] for role in NORMALISATION if f"bn_{role}" in parts]
        if not found:
            folded[name] = parts
            continue
        if len(found) < len(NORMALISATION) or "weight" not in parts:
            raise JaxstyleError(
                f"{path}: {name}: expected a convolution and {', '.join(NORMALISATION)} of its "
                f"normalisation, found {', '.join(sorted(parts))}"
            )
        gamma, beta, mean, variance = (np.asarray(part, np.float64) for part in found)
        scale = gamma / np.sqrt(variance + epsilon)
        weight = parts["weight"]
        if weight.ndim != 4 or scale.shape != weight.shape[:1]:
            raise JaxstyleError(
                f"{path}: {name}: expected filters OIHW and as many statistics, found "
                f"{weight.shape} and {scale.shape}"
            )
        folded[name] = {"weight": weight * scale[:, None, None, None],
                        "bias": (parts.get("bias", np.float64(0)) - mean) * scale + beta}
    return folded


def arrange(
    layers: Layers, shapes: Mapping[str, tuple[int, ...]], path: Path,
    layouts: tuple[str, ...] = tuple(LAYOUTS),
) -> Layers:
    """Parameters `{"kernel": [kh, kw, in, out], "bias": [out]}` of every layer that a network has.

    Args:
      layers: own layer name -> {"weight", "bias"} with the axes of the file.
      shapes: own layer name -> (kh, kw, in, out), from `parameter_shapes`.
      layouts: the orders of axes that files of this format can have.

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
    kernels = {name: layers[name]["weight"] for name in shapes}
    order = LAYOUTS[_layout(kernels, shapes, path, layouts)]
    return {name: _layer(name, kernels[name].transpose(order), layers[name]["bias"], path)
            for name in shapes}


def _layer(name: str, kernel: np.ndarray, bias: np.ndarray, path: Path) -> dict[str, np.ndarray]:
    """One layer's parameters as float32, with a bias as long as its filters are many."""
    if bias.size != kernel.shape[-1]:
        raise JaxstyleError(
            f"{path}: {name}/bias: expected {kernel.shape[-1]} numbers, found {bias.size}"
        )
    parts = {"kernel": np.ascontiguousarray(kernel, np.float32),
             "bias": np.asarray(bias, np.float32).reshape(-1)}
    for role, part in parts.items():
        if not np.isfinite(part).all():
            raise JaxstyleError(f"{path}: {name}/{role}: expected finite numbers, found nan or inf")
    return parts


def _layout(
    kernels: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], path: Path,
    layouts: tuple[str, ...],
) -> str:
    """The one order of axes that makes every kernel of a file the shape that its layer needs."""
    def misfits(order: tuple[int, ...]) -> list[str]:
        return [name for name, kernel in kernels.items() if kernel.ndim != 4
                or tuple(kernel.shape[axis] for axis in order) != tuple(shapes[name])]

    wrong = {name: misfits(order) for name, order in (LAYOUTS | TRANSPOSED).items()}
    fitting = [name for name in layouts if not wrong[name]]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise JaxstyleError(f"{path}: ambiguous: the shapes fit filters as OIHW and as HWIO")
    wanted = " or ".join(layouts)
    for name, layers in wrong.items():
        if not layers:
            raise JaxstyleError(f"{path}: transposed filters: expected {wanted}, found {name}")
    closest = min(layouts, key=lambda name: len(wrong[name]))
    layer = wrong[closest][0]
    expected = tuple(shapes[layer][LAYOUTS[closest].index(axis)] for axis in range(4))
    raise JaxstyleError(
        f"{path}: {layer}/weight: expected {expected} ({closest}), found {kernels[layer].shape}"
    )


def _convention(
    preprocess: Mapping[str, np.ndarray | None], convention: str | None, arch: str, read: Source,
    path: Path,
) -> tuple[np.ndarray, np.ndarray, str]:
    """Matrix `[3, 3]` and offset `[3]` of the input, and the name of the convention."""
    weight, bias = preprocess["weight"], preprocess["bias"]
    if convention is None and weight is not None and bias is not None:
        if sorted(weight.shape) != [1, 1, 3, 3] or bias.size != 3:
            raise JaxstyleError(
                f"{path}: preprocess/weight: expected (3, 3, 1, 1) or (1, 1, 3, 3), found "
                f"{weight.shape}"
            )
        matrix = weight[:, :, 0, 0].T if weight.shape[0] == 3 else weight[0, 0]
        return matrix.astype(np.float32), bias.astype(np.float32).reshape(3), "own"
    name = convention or default_convention(arch, read)
    if name not in CONVENTIONS:
        raise JaxstyleError(
            f"unknown input convention '{name}'; there are {', '.join(CONVENTIONS)}"
        )
    return *CONVENTIONS[name], name


def default_convention(arch: str, read: Source) -> str:
    """What published files of this format and architecture were trained on.

    A NumPy dictionary with torchvision's names (`features.0`) holds torchvision's weights.
    """
    if read.format == "matconvnet":
        return "matconvnet"
    torch_names = ("features.", "layer1.", "module.")
    if read.format == "pytorch" or any(name.startswith(torch_names) for name in read.arrays):
        return "torchvision"
    return "caffe-104-117-123" if arch in ("squeezenet1_1", "googlenet") else "caffe-vgg"
