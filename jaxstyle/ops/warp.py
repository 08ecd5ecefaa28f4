"""Images moved along optical flow."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array


def positions(flow: Array) -> tuple[Array, Array]:
    """Where every pixel of a flow field `[H, W, 2]` points to: y and x, each `[H, W]`, in pixels."""
    height, width, _ = flow.shape
    rows = jnp.arange(height, dtype=flow.dtype)[:, None]
    columns = jnp.arange(width, dtype=flow.dtype)[None, :]
    return rows + flow[..., 1], columns + flow[..., 0]


def inside(flow: Array) -> Array:
    """Whether a flow field `[H, W, 2]` points to a place within the image: booleans `[H, W]`."""
    y, x = positions(flow)
    return (y >= 0) & (x >= 0) & (y <= flow.shape[0] - 1) & (x <= flow.shape[1] - 1)


def warp(image: Array, flow: Array) -> Array:
    """`image` `[H, W, C]` sampled where `flow` `[H, W, 2]` points: out[y, x] = image[y + v, x + u].

    `flow[y, x] = (u, v)`: pixels to the right and downwards. With the backward flow of a frame (from it to
    the one before) this moves the earlier frame onto the later one. Bilinear; places outside the image take
    the nearest pixel of its border. Differentiable in both arguments.
    """
    height, width, _ = flow.shape
    y, x = positions(flow)
    y, x = jnp.clip(y, 0, height - 1), jnp.clip(x, 0, width - 1)
    top, left = jnp.floor(y).astype(jnp.int32), jnp.floor(x).astype(jnp.int32)
    below, right = jnp.minimum(top + 1, height - 1), jnp.minimum(left + 1, width - 1)
    down, across = (y - top)[..., None], (x - left)[..., None]
    upper = image[top, left] * (1 - across) + image[top, right] * across
    lower = image[below, left] * (1 - across) + image[below, right] * across
    return upper * (1 - down) + lower * down


def warp_cubic(image: Array, flow: Array) -> Array:
    """As `warp`, with Catmull–Rom splines through 4×4 pixels: sharp, where an image is moved again and again.

    It overshoots at edges, by up to an eighth of their height in each direction.
    """
    height, width, _ = flow.shape
    y, x = positions(flow)
    y, x = jnp.clip(y, 0, height - 1), jnp.clip(x, 0, width - 1)
    top, left = jnp.floor(y).astype(jnp.int32), jnp.floor(x).astype(jnp.int32)
    shares_y, shares_x = catmull_rom(y - top), catmull_rom(x - left)
    result = jnp.zeros((height, width, image.shape[-1]), image.dtype)
    for j, share_y in enumerate(shares_y):
        rows = jnp.clip(top + (j - 1), 0, height - 1)
        for i, share_x in enumerate(shares_x):
            columns = jnp.clip(left + (i - 1), 0, width - 1)
            result = result + (share_y * share_x)[..., None] * image[rows, columns]
    return result


def catmull_rom(t: Array) -> tuple[Array, Array, Array, Array]:
    """Shares of the pixels at −1, 0, 1 and 2 in the value at `t` in [0, 1) (Catmull & Rom 1974); they sum to
    1."""
    return ((-t + 2 * t**2 - t**3) / 2, (2 - 5 * t**2 + 3 * t**3) / 2, (t + 4 * t**2 - 3 * t**3) / 2,
            (t**3 - t**2) / 2)
