"""Matching of square patches by diagonal sums.

The product of two k×k patches is the sum, over the k² offsets, of products of single pixels. So all
products of pixels are taken once (C-deep instead of k²C-deep) and then added along the diagonals,
first over rows, then over columns. Rows of the image are handled in blocks, one after the other, so
that memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array, lax

from jaxstyle.ops.reference import Grid, candidate_norms, every_patch, spread_index, x_norms

# Products of pixels of one block.
BLOCK_BYTES = 48 << 20


def nearest_patches(
    x: Array, style: Array, size: int = 3, precision: str = "float32", normalised: bool = True
) -> tuple[Array, Array]:
    """Same as `reference.nearest_patches`."""
    grid = every_patch(x, style, size, precision, normalised)
    index, score, _ = best_patches(x, style, grid)
    return index, score


def best_patches(x: Array, style: Array, grid: Grid, offset: Array | None = None
                 ) -> tuple[Array, Array, Array | None]:
    """Same as `reference.best_patches`."""
    x, style = lax.stop_gradient((x, style))
    size, stride, regular = grid.size, *run(grid.rows)
    product = jnp.bfloat16 if grid.precision == "bfloat16" else x.dtype
    pixels = style.reshape(-1, style.shape[-1]).astype(product).T
    shape = (x.shape[1], style.shape[0], style.shape[1])
    inverse = None if grid.normalised == "no" else 1 / candidate_norms(style, grid)
    norms = x_norms(x, grid) if grid.normalised == "both" else None
    row_bytes = x.shape[1] * pixels.shape[1] * x.dtype.itemsize
    block = min(regular, max(1, (BLOCK_BYTES // row_bytes - size) // stride + 1))
    blocks = -(-regular // block)
    missing = max(0, (blocks * block - 1) * stride + size - x.shape[0])
    padded = jnp.pad(x, ((0, missing), (0, 0), (0, 0))).astype(product)
    if norms is not None:
        norms = jnp.pad(norms, ((0, blocks * block - regular), (0, 0)), constant_values=1)

    def match(first: Array, count: int) -> tuple[Array, Array, Array | None]:
        """Of the patches that begin in `count` rows from the `first`-th row of the grid on."""
        start = jnp.asarray(grid.rows)[first] if count == 1 else first * stride
        tall = stride * (count - 1) + 1
        part = lax.dynamic_slice_in_dim(padded, start, tall + size - 1)
        products = lax.dot_general(
            part.reshape(-1, part.shape[-1]), pixels, (((1,), (0,)), ((), ())),
            precision=lax.Precision.HIGHEST, preferred_element_type=x.dtype,
        ).reshape(tall + size - 1, *shape)
        # The barriers keep XLA from computing these sums anew for every use of them.
        down = lax.optimization_barrier(sum(
            pick(products[i:i + tall:stride], 2, i, grid.style_rows) for i in range(size)))
        scores = sum(pick(pick(down, 1, j, grid.columns), 3, j, grid.style_columns) for j in range(size))
        scores = scores if inverse is None else scores * inverse[None, None]
        if norms is not None:
            scores = scores / lax.dynamic_slice_in_dim(norms, first, count)[:, :, None, None]
        scores = lax.optimization_barrier(scores)
        peaks = None
        if grid.peaks:
            real = (first + jnp.arange(count) < len(grid.rows))[:, None, None, None]
            peaks = jnp.max(jnp.where(real, scores, -jnp.inf), axis=(0, 1))
        if offset is not None:
            scores = lax.optimization_barrier(scores + offset[None, None])
        return *_best(scores), peaks

    columns = len(grid.columns)
    index, score, peaks = lax.map(lambda i: match(i * block, block), jnp.arange(blocks))
    index, score = index.reshape(-1, columns)[:regular], score.reshape(-1, columns)[:regular]
    peaks = None if peaks is None else peaks.max(axis=0)
    if regular < len(grid.rows):  # the tail: one row that the stride does not reach
        found, value, peak = match(jnp.asarray(regular), 1)
        index, score = jnp.concatenate([index, found]), jnp.concatenate([score, value])
        peaks = None if peaks is None or peak is None else jnp.maximum(peaks, peak)
    return spread_index(index, style, grid), score, peaks


def run(starts: Sequence[int]) -> tuple[int, int]:
    """Stride and length of the arithmetic run from zero that `starts` begin with."""
    stride = starts[1] - starts[0] if len(starts) > 1 else 1
    length = next((i for i, start in enumerate(starts) if start != i * stride), len(starts))
    return (stride, length) if length > 1 else (1, 1)


def pick(x: Array, axis: int, offset: int, starts: Sequence[int]) -> Array:
    """The entries at `starts + offset` along an axis, by slices (a gather would cost more than the sums)."""
    stride, length = run(starts)
    pieces = [lax.slice_in_dim(x, offset, offset + stride * (length - 1) + 1, stride, axis)]
    pieces += [lax.slice_in_dim(x, offset + start, offset + start + 1, 1, axis) for start in starts[length:]]
    return pieces[0] if len(pieces) == 1 else jnp.concatenate(pieces, axis)


def _best(scores: Array) -> tuple[Array, Array]:
    """Flat index and value of the maximum over the last two axes, in two stages that vectorise."""
    over_rows = lax.optimization_barrier(jnp.max(scores, axis=2))
    column = jnp.argmax(over_rows, axis=-1)
    line = jnp.take_along_axis(scores, column[:, :, None, None], axis=3)[..., 0]
    index = jnp.argmax(line, axis=-1) * scores.shape[3] + column
    return index.astype(jnp.int32), jnp.max(over_rows, axis=-1)
