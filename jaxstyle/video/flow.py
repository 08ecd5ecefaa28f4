"""Optical flow between two frames: where it can be trusted, and at another size.

A flow field is `[H, W, 2]`: `flow[y, x] = (u, v)`, pixels to the right and downwards. *Backward* flow belongs
to the later frame and points into the earlier one, *forward* flow the other way. After Ruder, Dosovitskiy &
Brox 2016, "Artistic style transfer for videos", section 4.1 (thresholds of Sundaram, Brox & Keutzer 2010).
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from jaxstyle.ops.resize import resize_to
from jaxstyle.ops.warp import inside, warp


def squared_length(flow: Array) -> Array:
    """|w|² of `[H, W, 2]`: `[H, W]`."""
    return jnp.square(flow).sum(axis=-1)


def disoccluded(backward: Array, forward: Array) -> Array:
    """Places of the later frame that the earlier one does not show: booleans `[H, W]`.

    Equation 5 of the paper: going back along ŵ and forward again along w̃(p) = w(p + ŵ(p)) does not return:
    |w̃ + ŵ|² ≥ 0.01 (|w̃|² + |ŵ|²) + 0.5; or ŵ leaves the image.
    """
    onwards = warp(forward, backward)
    slack = 0.01 * (squared_length(onwards) + squared_length(backward)) + 0.5
    return (squared_length(onwards + backward) >= slack) | ~inside(backward)


def motion_boundaries(backward: Array) -> Array:
    """Places where motion changes abruptly, so that flow is not exact there: booleans `[H, W]`.

    Equation 6: |∇û|² + |∇v̂|² > 0.01 |ŵ|² + 0.002, with central differences (half of one at the border).
    """
    padded = jnp.pad(backward, ((1, 1), (1, 1), (0, 0)), mode="edge")
    down = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2
    across = (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
    steepness = squared_length(down) + squared_length(across)
    return steepness > 0.01 * squared_length(backward) + 0.002


def consistency(backward: Array, forward: Array) -> Array:
    """Weights c of the temporal loss, `[H, W]`: 1 where the flow can be trusted, else 0."""
    doubtful = disoccluded(backward, forward) | motion_boundaries(backward)
    return jnp.where(doubtful, 0.0, 1.0).astype(backward.dtype)


def resize_flow(flow: Array, height: int, width: int) -> Array:
    """The same motion in an image of `height` × `width` pixels: `[H, W, 2]` -> `[height, width, 2]`."""
    scale = jnp.asarray([width / flow.shape[1], height / flow.shape[0]], flow.dtype)
    return resize_to(flow, height, width, "linear", clip=False) * scale[None, None, :]


def soften(mask: Array, radius: int) -> Array:
    """A mask `[H, W]` with soft borders inside its ones: 0 stays 0, 1 is reached `radius` pixels inside.

    The mask is shrunk by as much as its box mean then widens it, so that what was unsure weighs nothing.
    """
    height, width = mask.shape
    near = range(2 * radius + 1)
    padded = jnp.pad(mask, radius, mode="edge")
    rows = jnp.stack([padded[i:i + height] for i in near]).min(axis=0)
    shrunk = jnp.stack([rows[:, i:i + width] for i in near]).min(axis=0)
    padded = jnp.pad(shrunk, radius, mode="edge")
    rows = jnp.stack([padded[i:i + height] for i in near]).mean(axis=0)
    return jnp.stack([rows[:, i:i + width] for i in near]).mean(axis=0)
