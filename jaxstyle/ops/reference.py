"""Plain `lax` form of every operation: the definition that the faster forms must equal.

All take one image `[H, W, C]`; batches come from `vmap`. JAX differentiates these to any order and
in both modes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxstyle.errors import JaxstyleError

# Patches of less than this norm count as having it.
NORM_FLOOR = 1e-8
PAD_MODES = {"zero": "constant", "reflect": "reflect", "replicate": "edge"}


PRECISIONS = ("float32", "tensorfloat32", "bfloat16")


def check_precision(precision: str) -> None:
    """Refuse a precision that `prepare` does not know.

    Raises:
      JaxstyleError: naming the choices.
    """
    if precision not in PRECISIONS:
        raise JaxstyleError(f"precision '{precision}' is unknown; use {', '.join(PRECISIONS)}")


def prepare(params: Any, precision: str = "float32") -> Any:
    """Beside every kernel an empty entry named like the precision of products, unless float32.

    Being empty it is part of the tree's structure, so it is static and takes no gradient.

    Raises:
      JaxstyleError: an unknown precision.
    """
    check_precision(precision)
    if not isinstance(params, Mapping):
        return params
    if getattr(params.get("kernel"), "ndim", 0) == 4:
        plain = {name: value for name, value in params.items() if name not in PRECISIONS}
        return plain if precision == "float32" else {**plain, precision: ()}
    return {name: prepare(child, precision) for name, child in params.items()}


def out_size(size: int, kernel: int, stride: int, pad: int) -> int:
    """Outputs of a correlation along one axis; 0 where the kernel exceeds the padded image."""
    return max(0, (size + 2 * pad - kernel) // stride + 1)


def conv(
    x: Array, params: Mapping[str, Any], *, border: str = "zero", stride: int = 1,
    padding: int | None = None, relu: bool = False,
) -> Array:
    """Cross-correlation plus bias, optionally rectified.

    Args:
      x: `[H, W, I]`.
      params: "kernel" `[kh, kw, I, O]` and "bias" `[O]`, plus whatever `prepare` added.
      border: "zero", "reflect" or "replicate": how the image goes on outside.
      padding: pixels added on each side; None keeps the size at stride 1 (`k // 2`).

    Returns:
      `[H', W', O]` with H' = max(0, (H + 2·padding − kh) // stride + 1).
    """
    kernel = params["kernel"]
    kh, kw, _, channels = kernel.shape
    pad = kh // 2 if padding is None else padding
    height, width = out_size(x.shape[0], kh, stride, pad), out_size(x.shape[1], kw, stride, pad)
    if 0 in (*x.shape, height, width):
        return jnp.zeros((height, width, channels), x.dtype)
    if pad and border != "zero":
        x, pad = jnp.pad(x, ((pad, pad), (pad, pad), (0, 0)), mode=PAD_MODES[border]), 0
    product = jnp.bfloat16 if "bfloat16" in params else x.dtype
    y = lax.conv_general_dilated(
        x[None].astype(product), kernel.astype(product), (stride, stride), ((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"), precision=lax.Precision.DEFAULT
        if "tensorfloat32" in params else lax.Precision.HIGHEST,
    )[0].astype(x.dtype) + params["bias"].astype(x.dtype)[None, None]
    return jax.nn.relu(y) if relu else y


def max_pool(x: Array) -> Array:
    """Maximum of 2×2 blocks, `[H, W, C]` -> `[H//2, W//2, C]`; an odd row or column is dropped."""
    largest: Array = lax.reduce_window(x, -jnp.inf, lax.max, (2, 2, 1), (2, 2, 1), "VALID")
    return largest


def average_pool(x: Array) -> Array:
    """Mean of 2×2 blocks, `[H, W, C]` -> `[H//2, W//2, C]`; an odd row or column is dropped."""
    mean: Array = lax.reduce_window(x, 0.0, lax.add, (2, 2, 1), (2, 2, 1), "VALID") / 4
    return mean


def gram(x: Array) -> Array:
    """Sum over positions of outer products of features, `[H, W, C]` -> `[C, C]`; not normalised."""
    flat = x.reshape(-1, x.shape[-1])
    return jnp.matmul(flat.T, flat, precision=lax.Precision.HIGHEST)


def squared_gram_distance(x: Array, target: Array, scale: Any = 1.0) -> Array:
    """sum((scale·gram(x) − target)²), scalar, of features `[H, W, C]` and a matrix `[C, C]`."""
    return jnp.sum((gram(x) * scale - target) ** 2)


def upsample_conv(
    x: Array, params: Mapping[str, Any], *, border: str = "zero", relu: bool = False
) -> Array:
    """Nearest-neighbour enlargement to twice the size, then a 3×3 `conv` that keeps it.

    Returns:
      `[2H, 2W, O]` of `[H, W, I]`.
    """
    return conv(jnp.repeat(jnp.repeat(x, 2, axis=0), 2, axis=1), params, border=border, relu=relu)


def transposed_conv(x: Array, params: Mapping[str, Any], *, centred: bool = True) -> Array:
    """3×3 convolution of the image with zeros put between its pixels, to twice the size.

    Returns:
      `[2H, 2W, O]` of `[H, W, I]`.
    """
    pads = (1, 2) if centred else (2, 1)
    product = jnp.bfloat16 if "bfloat16" in params else x.dtype
    y = lax.conv_general_dilated(
        x[None].astype(product), params["kernel"].astype(product), (1, 1), (pads, pads), lhs_dilation=(2, 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"), precision=lax.Precision.DEFAULT
        if "tensorfloat32" in params else lax.Precision.HIGHEST,
    )[0].astype(x.dtype)
    shifted: Array = y + params["bias"].astype(x.dtype)[None, None]
    return shifted


def patch_norms(x: Array, size: int) -> Array:
    """Norm of every size×size patch, `[H, W, C]` -> `[H − size + 1, W − size + 1]`."""
    energy = lax.reduce_window(jnp.sum(x * x, axis=-1), 0.0, lax.add, (size, size), (1, 1), "VALID")
    return jnp.sqrt(energy)


def patches(x: Array, size: int) -> Array:
    """All size×size patches, `[H, W, C]` -> `[H − size + 1, W − size + 1, size² · C]`."""
    rows, columns = x.shape[0] - size + 1, x.shape[1] - size + 1
    shifted = [x[i:i + rows, j:j + columns] for i in range(size) for j in range(size)]
    return jnp.concatenate(shifted, axis=-1)


class Grid(NamedTuple):
    """Which patches are matched, and how; all of it static.

    Attributes:
      size: side of a patch; rows, columns: where patches of the image begin, rising; style_rows,
        style_columns: the same of the style.
      normalised: "no": the score is ⟨p, q⟩; "style": ⟨p, q⟩ / |q|; "both": ⟨p, q⟩ / (|p| |q|).
      precision: of products; see `nearest_patches`.
      peaks: whether the best score of every style patch is wanted, too.
    """

    size: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    style_rows: tuple[int, ...]
    style_columns: tuple[int, ...]
    normalised: str = "style"
    precision: str = "float32"
    peaks: bool = False


def patch_starts(length: int, size: int, stride: int = 1) -> tuple[int, ...]:
    """Where patches begin along an axis: every `stride` pixels, and at the very end (CNNMRF's tail)."""
    last = length - size
    return (*range(0, last, stride), last)


def every_patch(x: Array, style: Array, size: int, precision: str, normalised: bool) -> Grid:
    """The grid of all patches of `x` and of `style`, `[H, W, C]` each."""
    rows, columns, style_rows, style_columns = (patch_starts(length, size)
                                                for image in (x, style) for length in image.shape[:2])
    return Grid(size, rows, columns, style_rows, style_columns, "style" if normalised else "no", precision)


def candidate_norms(style: Array, grid: Grid) -> Array:
    """Norms of the style patches of a grid, at least `NORM_FLOOR`, `[rows, columns]`."""
    norms = patch_norms(style, grid.size)[jnp.asarray(grid.style_rows)][:, jnp.asarray(grid.style_columns)]
    return jnp.maximum(norms, NORM_FLOOR)


def x_norms(x: Array, grid: Grid) -> Array:
    """The same of the image's patches."""
    norms = patch_norms(x, grid.size)[jnp.asarray(grid.rows)][:, jnp.asarray(grid.columns)]
    return jnp.maximum(norms, NORM_FLOOR)


def spread_index(index: Array, style: Array, grid: Grid) -> Array:
    """From the number of a style patch in its grid to its number among all patches of the style."""
    row, column = jnp.divmod(index, len(grid.style_columns))
    wide = style.shape[1] - grid.size + 1
    rows, columns = jnp.asarray(grid.style_rows), jnp.asarray(grid.style_columns)
    return (rows[row] * wide + columns[column]).astype(jnp.int32)


def best_patches(x: Array, style: Array, grid: Grid, offset: Array | None = None
                 ) -> tuple[Array, Array, Array | None]:
    """For every patch of `x` on a grid the style patch on the grid of the greatest score + offset.

    Args:
      x: `[H, W, C]`, style: `[Hs, Ws, C]`.
      offset: `[style_rows, style_columns]`, added to the scores of each style patch before the choice
        (−∞ leaves it out); None: nothing.

    Returns:
      Flat index (row · (Ws − size + 1) + column) `[rows, columns]` of the patch among *all* of the style,
      int32; its score + offset, of equal shape; and, if `grid.peaks`, the greatest score (without offset)
      that each style patch has with any patch of x, `[style_rows, style_columns]`. Among equal scores the
      first column wins, then the first row.
    """
    x, style = lax.stop_gradient((x, style))
    p = patches(x, grid.size)[jnp.asarray(grid.rows)][:, jnp.asarray(grid.columns)]
    q = patches(style, grid.size)[jnp.asarray(grid.style_rows)][:, jnp.asarray(grid.style_columns)]
    scores = jnp.einsum("hwk,rck->hwrc", p, q, precision=lax.Precision.HIGHEST)
    if grid.normalised != "no":
        scores = scores / candidate_norms(style, grid)[None, None]
    if grid.normalised == "both":
        scores = scores / x_norms(x, grid)[:, :, None, None]
    peaks = jnp.max(scores, axis=(0, 1)) if grid.peaks else None
    scores = scores if offset is None else scores + offset[None, None]
    flat = jnp.swapaxes(scores, 2, 3).reshape(*scores.shape[:2], -1)
    column, row = jnp.divmod(jnp.argmax(flat, axis=-1), len(grid.style_rows))
    index = spread_index(row * len(grid.style_columns) + column, style, grid)
    return index, jnp.max(flat, axis=-1), peaks


def nearest_patches(
    x: Array, style: Array, size: int = 3, precision: str = "float32", normalised: bool = True
) -> tuple[Array, Array]:
    """For every patch of `x` the style patch of greatest normalised correlation.

    The match of Li & Wand 2016 (arXiv:1601.04589, eq. 3): argmaxⱼ ⟨p, qⱼ⟩ / |qⱼ|; dividing by |p|,
    too, would change no choice. No gradient flows through matching.

    Args:
      x: `[H, W, C]`, style: `[Hs, Ws, C]`, both at least size×size.
      precision: "bfloat16" lets the fast form take its products in bfloat16.
      normalised: False leaves out the division by |q|.

    Returns:
      Flat index (row · (Ws − size + 1) + column) `[H − size + 1, W − size + 1]`, int32, and the score
      ⟨p, q⟩ / |q|, of equal shape. Among equal scores the first column wins, then the first row.
    """
    index, score, _ = best_patches(x, style, every_patch(x, style, size, precision, normalised))
    return index, score
