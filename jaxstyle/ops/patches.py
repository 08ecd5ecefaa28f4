"""Matching of square patches by diagonal sums.

The product of two k×k patches is the sum, over the k² offsets, of products of single pixels. So all
products of pixels are taken once (C-deep instead of k²C-deep) and then added along the diagonals,
first over rows, then over columns. Rows of the image are handled in blocks, one after the other, so
that memory stays bounded.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

from jaxstyle.ops.reference import NORM_FLOOR, patch_norms

# Products of pixels of one block.
BLOCK_BYTES = 48 << 20


def nearest_patches(
    x: Array, style: Array, size: int = 3, precision: str = "float32", normalised: bool = True
) -> tuple[Array, Array]:
    """Same as `reference.nearest_patches`."""
    x, style = lax.stop_gradient((x, style))
    rows, columns = x.shape[0] - size + 1, x.shape[1] - size + 1
    style_rows, style_columns = style.shape[0] - size + 1, style.shape[1] - size + 1
    product = jnp.bfloat16 if precision == "bfloat16" else x.dtype
    pixels = style.reshape(-1, style.shape[-1]).astype(product).T
    inverse = 1 / jnp.maximum(patch_norms(style, size), NORM_FLOOR) if normalised else 1
    row_bytes = x.shape[1] * pixels.shape[1] * x.dtype.itemsize
    block = min(rows, max(1, BLOCK_BYTES // row_bytes - size + 1))
    blocks = -(-rows // block)
    missing = blocks * block - rows
    padded = jnp.pad(x, ((0, missing), (0, 0), (0, 0))).astype(product)

    def match(index: Array) -> tuple[Array, Array]:
        part = lax.dynamic_slice_in_dim(padded, index * block, block + size - 1)
        products = lax.dot_general(
            part.reshape(-1, part.shape[-1]), pixels, (((1,), (0,)), ((), ())),
            precision=lax.Precision.HIGHEST, preferred_element_type=x.dtype,
        ).reshape(block + size - 1, x.shape[1], style.shape[0], style.shape[1])
        # The barriers keep XLA from computing these sums anew for every use of them.
        down = lax.optimization_barrier(sum(
            products[i:i + block, :, i:i + style_rows] for i in range(size)))
        scores = lax.optimization_barrier(inverse * sum(
            down[:, j:j + columns, :, j:j + style_columns] for j in range(size)))
        return _best(scores)

    index, score = lax.map(match, jnp.arange(blocks))
    return index.reshape(-1, columns)[:rows], score.reshape(-1, columns)[:rows]


def _best(scores: Array) -> tuple[Array, Array]:
    """Flat index and value of the maximum over the last two axes, in two stages that vectorise."""
    over_rows = lax.optimization_barrier(jnp.max(scores, axis=2))
    column = jnp.argmax(over_rows, axis=-1)
    line = jnp.take_along_axis(scores, column[:, :, None, None], axis=3)[..., 0]
    index = jnp.argmax(line, axis=-1) * scores.shape[3] + column
    return index.astype(jnp.int32), jnp.max(over_rows, axis=-1)
