"""Nearest neighbours of vectors, in blocks: the matrix of all scores is never held."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

BLOCK_SCORES = 1 << 24
"""Scores held at once: 64 MiB in float32."""


def nearest(x: Array, style: Array, block: int | None = None) -> tuple[Array, Array]:
    """For every row of `x` the row of `style` with the greatest inner product; no gradient flows through it.

    Args:
      x: `[n, C]`, style: `[m, C]`.
      block: rows of `x` compared at a time; None: as many as keep `BLOCK_SCORES` scores in memory. Changes
        memory alone.

    Returns:
      Indices `[n]`, int32, and the inner products, `[n]`. Among equal products the first row wins.
    """
    x, style = lax.stop_gradient((x, style))
    rows = min(x.shape[0], block or max(1, BLOCK_SCORES // style.shape[0]))
    count = -(-x.shape[0] // rows)
    padded = jnp.pad(x, ((0, rows * count - x.shape[0]), (0, 0)))

    def best(part: Array) -> tuple[Array, Array]:
        scores = jnp.matmul(part, style.T, precision=lax.Precision.HIGHEST)
        index = jnp.argmax(scores, axis=-1)
        return index.astype(jnp.int32), jnp.take_along_axis(scores, index[:, None], axis=-1)[:, 0]

    index, score = lax.map(best, padded.reshape(count, rows, -1))
    return index.reshape(-1)[: x.shape[0]], score.reshape(-1)[: x.shape[0]]
