"""Array operations that backbones and losses are made of; only this package knows how they compute.

Every operation has a plain `lax` form (`reference.py`, the definition) and a form that is faster on
a CPU. The choice is made when a function is traced: the fast forms on a CPU, the plain ones on GPU
and TPU, whose compilers bring their own. `JAXSTYLE_OPS=reference` or `JAXSTYLE_OPS=fast` in the
environment overrides it for functions traced from then on. The fast forms define reverse-mode
derivatives only (of any order); forward mode needs `JAXSTYLE_OPS=reference`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import jax
from jax import Array

from jaxstyle.errors import JaxstyleError
from jaxstyle.ops import grams, patches, reference
from jaxstyle.ops.convolution import layers, pooling
from jaxstyle.ops.neighbours import nearest
from jaxstyle.ops.reference import Grid, patch_starts

__all__ = [
    "Grid", "average_pool", "best_patches", "conv", "gram", "max_pool", "nearest", "nearest_patches",
    "patch_starts", "prepare", "squared_gram_distance", "transposed_conv", "upsample_conv",
]


def _choose(fast: ModuleType, everywhere: bool = False) -> Any:
    """The module to take an operation from; everywhere: the fast form is the default on accelerators, too."""
    default = "fast" if everywhere or jax.default_backend() == "cpu" else "reference"
    choice = os.environ.get("JAXSTYLE_OPS") or default
    if choice not in ("fast", "reference"):
        raise JaxstyleError(f"JAXSTYLE_OPS='{choice}' is unknown; use reference or fast")
    return fast if choice == "fast" else reference


def prepare(params: Any, precision: str = "float32") -> Any:
    """Parameters in the form that `conv` computes fastest with; made once per run.

    Every {"kernel": `[kh, kw, I, O]`, "bias"} in a nested dict gets transformed kernels beside its
    own; preparing again is harmless. To train weights, differentiate with respect to the raw ones
    and call this inside the function.

    Args:
      precision: "float32"; "bfloat16": products in bfloat16, sums in float32, where that is faster;
        "tensorfloat32": NVIDIA's faster products, float32 elsewhere.

    Raises:
      JaxstyleError: an unknown precision.
    """
    return _choose(layers).prepare(params, precision)


def conv(
    x: Array, params: Mapping[str, Any], *, border: str = "zero", stride: int = 1,
    padding: int | None = None, relu: bool = False,
) -> Array:
    """Cross-correlation plus bias, optionally rectified.

    Args:
      x: `[H, W, I]`.
      params: "kernel" `[kh, kw, I, O]` and "bias" `[O]`, from `prepare`, or raw (computed directly: slower
        where Winograd's form would pay, but much faster to compile).
      border: "zero", "reflect" or "replicate": how the image goes on outside.
      padding: pixels added on each side; None keeps the size at stride 1 (`k // 2`).

    Returns:
      `[H', W', O]` with H' = max(0, (H + 2·padding − kh) // stride + 1).

    Raises:
      JaxstyleError: a gradient with respect to prepared parameters is asked for (see `prepare`).
    """
    y: Array = _choose(layers).conv(
        x, params, border=border, stride=stride, padding=padding, relu=relu)
    return y


def upsample_conv(
    x: Array, params: Mapping[str, Any], *, border: str = "zero", relu: bool = False
) -> Array:
    """Nearest-neighbour enlargement to twice the size, then a 3×3 `conv` that keeps it.

    Returns:
      `[2H, 2W, O]` of `[H, W, I]`.
    """
    y: Array = _choose(layers).upsample_conv(x, params, border=border, relu=relu)
    return y


def transposed_conv(x: Array, params: Mapping[str, Any], *, centred: bool = True) -> Array:
    """3×3 convolution of the image with zeros put between its pixels, to twice the size.

    Args:
      params: "kernel" `[3, 3, I, O]` as a correlation of the stretched image, and "bias" `[O]`.
      centred: pixel (i, j) lies under (2i, 2j) with the kernel's centre, as in Torch (padding 1, output
        padding 1); else with the kernel's last tap there, as TensorFlow's SAME.

    Returns:
      `[2H, 2W, O]` of `[H, W, I]`.
    """
    y: Array = _choose(layers).transposed_conv(x, params, centred=centred)
    return y


def max_pool(x: Array) -> Array:
    """Maximum of 2×2 blocks, `[H, W, C]` -> `[H//2, W//2, C]`; an odd row or column is dropped."""
    y: Array = _choose(pooling).max_pool(x)
    return y


def average_pool(x: Array) -> Array:
    """Mean of 2×2 blocks, `[H, W, C]` -> `[H//2, W//2, C]`; an odd row or column is dropped."""
    y: Array = _choose(pooling).average_pool(x)
    return y


def gram(x: Array) -> Array:
    """Sum over positions of outer products of features, `[H, W, C]` -> `[C, C]`; not normalised."""
    matrix: Array = _choose(grams).gram(x)
    return matrix


def squared_gram_distance(x: Array, target: Array, scale: Any = 1.0) -> Array:
    """sum((scale·gram(x) − target)²), scalar, of features `[H, W, C]` and a matrix `[C, C]`."""
    distance: Array = _choose(grams).squared_gram_distance(x, target, scale)
    return distance


def nearest_patches(
    x: Array, style: Array, size: int = 3, precision: str = "float32", normalised: bool = True
) -> tuple[Array, Array]:
    """For every patch of `x` the style patch of greatest normalised correlation ⟨p, q⟩ / |q|.

    The match of Li & Wand 2016 (arXiv:1601.04589, eq. 3). No gradient flows through matching.

    Args:
      x: `[H, W, C]`, style: `[Hs, Ws, C]`, both at least size×size.
      precision: "float32", or "bfloat16": products in bfloat16, where that is faster; then patches
        whose scores nearly tie may be exchanged.
      normalised: False leaves out the division: the greatest ⟨p, q⟩.

    Returns:
      Flat index (row · (Ws − size + 1) + column) `[H − size + 1, W − size + 1]`, int32, and the score,
      of equal shape. Among equal scores the first column wins, then the first row.
    """
    matches: tuple[Array, Array] = _choose(patches, True).nearest_patches(
        x, style, size, precision, normalised)  # the reference holds every score at once
    return matches


def best_patches(x: Array, style: Array, grid: Grid, offset: Array | None = None
                 ) -> tuple[Array, Array, Array | None]:
    """For every patch of `x` on a grid the style patch on the grid of the greatest score + offset.

    What `nearest_patches` does, for a part of the patches, with some of them favoured or left out. No
    gradient flows through matching.

    Args:
      x: `[H, W, C]`, style: `[Hs, Ws, C]`; grid: which patches, and what their score is.
      offset: `[style_rows, style_columns]`, added to the scores of each style patch before the choice
        (−∞ leaves it out); None: nothing.

    Returns:
      Flat index (row · (Ws − size + 1) + column) `[rows, columns]` of the patch among *all* of the style,
      int32; its score + offset, of equal shape; and, if `grid.peaks`, the greatest score (without offset)
      that each style patch has with any patch of x, `[style_rows, style_columns]`, else None. Among equal
      scores the first column wins, then the first row.
    """
    matches: tuple[Array, Array, Array | None] = _choose(patches, True).best_patches(x, style, grid, offset)
    return matches
