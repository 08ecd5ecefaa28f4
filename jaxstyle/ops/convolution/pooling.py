"""2×2 pooling from four strided slices, with backward passes that only write.

XLA's own gradient of a windowed maximum (select and scatter) takes about a sixth of a whole style
gradient on a CPU; remembering which of the four won takes one byte per output.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax


def max_pool(x: Array) -> Array:
    """Same as `reference.max_pool`; among equal entries the first gets the gradient."""
    return _max_pool(_even(x))


def average_pool(x: Array) -> Array:
    """Same as `reference.average_pool`."""
    return _average_pool(_even(x))


def _even(x: Array) -> Array:
    """Without an odd last row or column."""
    return x[:x.shape[0] // 2 * 2, :x.shape[1] // 2 * 2]


def _quarters(x: Array) -> list[Array]:
    """Upper left, upper right, lower left, lower right of every 2×2 block, `[H/2, W/2, C]` each."""
    height, width, channels = x.shape
    if 0 in (height, width):
        return [x.reshape(height // 2, width // 2, channels)] * 4
    return [lax.slice(x, (i, j, 0), x.shape, (2, 2, 1)) for i in (0, 1) for j in (0, 1)]


@jax.custom_vjp
def _max_pool(x: Array) -> Array:
    a, b, c, d = _quarters(x)
    return jnp.maximum(jnp.maximum(a, b), jnp.maximum(c, d))


def _max_pool_fwd(x: Array) -> tuple[Array, Array]:
    a, b, c, _ = _quarters(x)
    y = _max_pool(x)
    return y, jnp.where(a == y, 0, jnp.where(b == y, 1, jnp.where(c == y, 2, 3))).astype(jnp.uint8)


def _max_pool_bwd(winner: Array, g: Array) -> tuple[Array]:
    h, w, channels = g.shape
    block = lax.broadcasted_iota(jnp.uint8, (1, 2, 1, 2, 1), 1) * 2 \
        + lax.broadcasted_iota(jnp.uint8, (1, 2, 1, 2, 1), 3)
    zero = jnp.zeros((), g.dtype)
    spread = jnp.where(winner[:, None, :, None] == block, g[:, None, :, None], zero)
    return (spread.reshape(2 * h, 2 * w, channels),)


_max_pool.defvjp(_max_pool_fwd, _max_pool_bwd)


@jax.custom_vjp
def _average_pool(x: Array) -> Array:
    a, b, c, d = _quarters(x)
    return ((a + b) + (c + d)) * 0.25


def _average_pool_bwd(_: None, g: Array) -> tuple[Array]:
    h, w, channels = g.shape
    spread = jnp.broadcast_to((g * 0.25)[:, None, :, None], (h, 2, w, 2, channels))
    return (spread.reshape(2 * h, 2 * w, channels),)


_average_pool.defvjp(lambda x: (_average_pool(x), None), _average_pool_bwd)
