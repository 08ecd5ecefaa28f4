"""3×3 correlation by Winograd's minimal filtering F(2×2, 3×3).

After Lavin & Gray 2015 (arXiv:1509.09308, §4.1). Each 2×2 block of outputs comes from a 4×4 tile of
inputs d and the filter g as Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A: 16 instead of 36 multiplications per pair
of channels. The 16 products over channels are kept apart as 16 matrix products over all tiles,
because stacking their operands costs more memory traffic than it saves.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

# Rows of Bᵀ, G and Aᵀ.
INPUT = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
FILTER = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
OUTPUT = ((1, 1, 1, 0), (0, 1, -1, -1))

# Few channels make the transforms dear and the products cheap: layers of up to NARROW channels are computed
# in strips of rows, each of about STRIP numbers (tiles × channels), whose transforms stay in the cache.
NARROW, STRIP = 64, 1 << 16

Pads = tuple[tuple[int, int], tuple[int, int]]


def _combine(matrix: Sequence[Sequence[float]], values: Sequence[Array]) -> list[Array]:
    """A small constant matrix times a list of arrays, without multiplying by 0 and ±1."""
    rows = []
    for row in matrix:
        total = None
        for factor, value in zip(row, values, strict=True):
            if factor == 0:
                continue
            if total is None:
                total = value if factor == 1 else factor * value
            elif abs(factor) == 1:
                total = total + value if factor == 1 else total - value
            else:
                total = total + factor * value
        assert total is not None
        rows.append(total)
    return rows


def _sandwich(
    matrix: Sequence[Sequence[float]], grid: Sequence[Sequence[Array]]
) -> list[list[Array]]:
    """matrix · grid · matrixᵀ for a grid of arrays."""
    rows = [_combine(matrix, row) for row in grid]
    columns = [_combine(matrix, column) for column in zip(*rows)]
    return [list(row) for row in zip(*columns)]


def transform_filters(kernel: Array, dtype: jnp.dtype | None = None) -> tuple[Array, ...]:
    """Kernel `[3, 3, I, O]` as the 16 matrices `[I, O]` that `correlate` takes; NumPy's stay NumPy's."""
    both_sides, flat = np.kron(FILTER, FILTER).astype(kernel.dtype), kernel.reshape(9, -1)
    if isinstance(kernel, np.ndarray):
        product = both_sides @ flat
    else:
        product = jnp.matmul(both_sides, flat, precision=lax.Precision.HIGHEST)
    matrices = product.reshape(16, *kernel.shape[2:])
    return tuple(matrix.astype(dtype or kernel.dtype, copy=False) for matrix in matrices)


def _tiles(x: Array, pads: Pads, height: int, width: int) -> list[list[Array]]:
    """Element (i, j) of every 4×4 tile (tiles overlap by 2), `[tile rows, tile columns, C]`."""
    (top, _), (left, _) = pads
    rows, columns = -(-height // 2), -(-width // 2)
    bottom = 2 * rows + 2 - x.shape[0] - top
    right = 2 * columns + 2 - x.shape[1] - left
    zero = jnp.zeros((), x.dtype)
    padded = lax.pad(x, zero, ((top, bottom, 0), (left, right, 0), (0, 0, 0)))
    end = (2 * rows - 1, 2 * columns - 1)
    return [[lax.slice(padded, (i, j, 0), (i + end[0], j + end[1], x.shape[2]), (2, 2, 1))
             for j in range(4)] for i in range(4)]


def correlate(x: Array, filters: tuple[Array, ...], pads: Pads) -> Array:
    """Correlation of `[H, W, I]`, zero-padded by `pads`, with a filter made by `transform_filters`.

    Products are taken in the filters' dtype, sums and transforms in that of `x`.

    Returns:
      `[H', W', O]` with H' = H + sum(pads[0]) − 2 and W' alike.
    """
    height, width = _output(x, pads)
    rows, columns = -(-height // 2), -(-width // 2)
    channels = max(filters[0].shape)
    strips = -(-rows // max(1, STRIP // (columns * channels)))
    if channels > NARROW or strips == 1:
        return _at_once(x, filters, pads)
    each = 2 * -(-rows // strips)
    bottom = each * strips + 2 - x.shape[0] - pads[0][0]
    padded = lax.pad(x, jnp.zeros((), x.dtype), ((pads[0][0], bottom, 0), (0, 0, 0), (0, 0, 0)))

    def strip(index: Array) -> Array:
        part = lax.dynamic_slice_in_dim(padded, index * each, each + 2)
        return _at_once(part, filters, ((0, 0), pads[1]))

    joined: Array = lax.map(strip, jnp.arange(strips)).reshape(each * strips, width, -1)[:height]
    return joined


def _output(x: Array, pads: Pads) -> tuple[int, int]:
    """Height and width of the correlation."""
    return x.shape[0] + sum(pads[0]) - 2, x.shape[1] + sum(pads[1]) - 2


def _at_once(x: Array, filters: tuple[Array, ...], pads: Pads) -> Array:
    height, width = _output(x, pads)
    tiles = _sandwich(INPUT, _tiles(x, pads, height, width))
    rows, columns, channels = tiles[0][0].shape
    products = [
        lax.dot_general(
            tiles[i][j].reshape(-1, channels).astype(filters[4 * i + j].dtype), filters[4 * i + j],
            (((1,), (0,)), ((), ())), precision=lax.Precision.HIGHEST,
            preferred_element_type=x.dtype,
        ) for i in range(4) for j in range(4)
    ]
    blocks = _sandwich(OUTPUT, [products[4 * i:4 * i + 4] for i in range(4)])
    # [2, rows, columns, 2, O] interleaved into the image.
    image = jnp.stack([
        jnp.stack([block.reshape(rows, columns, -1) for block in row], axis=2) for row in blocks
    ], axis=1)
    return image.reshape(2 * rows, 2 * columns, -1)[:height, :width]
