"""A feed-forward network's frames, held still by the result before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxstyle.ops.local_affine import mean_around
from jaxstyle.ops.warp import warp, warp_cubic
from jaxstyle.video.flow import consistency, soften
from jaxstyle.video.optimise import Earlier, to_bytes, to_float

RADIUS = 2
"""Pixels over which the share of the earlier result fades at the borders of what can be trusted."""
LIKENESS = 0.06
"""Root mean square difference of a frame to the one before, moved onto it, at which its share has fallen to
exp(−1/2): where colours differ more, the flow is wrong or the light has changed."""

DETAIL = 2
"""Radius in pixels of the window whose mean is not detail."""
MOST_CONTRAST = 2.0


@jax.jit
def steadied(image: Array, frame: Array, before: Array, result: Array, flows: tuple[Array, Array],
             strength: Any) -> Array:
    """Blend of a new result and the moved earlier one, in regions that are consistent and look alike.

    Args:
      image: the network's result for this frame; frame: the frame itself, both `[H, W, 3]` in [0, 1].
      before, result: the earlier frame and its (already steadied) result.
      flows: backward and forward `[H, W, 2]`; strength: 0 (the new result) to 1 (the earlier one).
    """
    backward, forward = flows
    unlike = jnp.square(frame - warp(before, backward)).mean(axis=-1)
    alike = jnp.exp(-unlike / (2 * LIKENESS**2))
    share = (strength * alike * soften(consistency(backward, forward), RADIUS))[..., None]
    mixed = share * jnp.clip(warp_cubic(result, backward), 0, 1) + (1 - share) * image
    return with_contrast_of(mixed, image)


def with_contrast_of(mixed: Array, image: Array) -> Array:
    """`mixed` with the local contrast of `image`, both `[H, W, 3]` in [0, 1].

    A mean of two textures is flatter than either, as it is blurred by every warp. Detail, what differs from
    the mean of a window, is enlarged until its mean square near by is that of the image (after the
    histogram-preserving blending of Heitz & Neyret 2018, in its simplest form), by `MOST_CONTRAST` at most.
    """
    low = mean_around(mixed, DETAIL)
    detail, wanted = mixed - low, image - mean_around(image, DETAIL)
    here, aim = (mean_around(jnp.square(x).mean(axis=-1, keepdims=True), 2 * DETAIL)
                 for x in (detail, wanted))
    gain = jnp.clip(jnp.sqrt(aim / jnp.maximum(here, 1e-8)), 1, MOST_CONTRAST)
    return jnp.clip(low + gain * detail, 0, 1)


def paint_fast(
    apply: Callable[[Array], Array], strength: float, image: np.ndarray, earlier: Sequence[Earlier | None],
) -> tuple[np.ndarray, dict[str, float]]:
    """The result of one frame, uint8 `[H, W, 3]`, by a pure function of images `[H, W, 3]` in [0, 1]."""
    frame = to_float(image)
    made = jnp.clip(apply(frame), 0, 1)
    for one in earlier[:1]:
        if one is not None and strength > 0:
            made = steadied(made, frame, to_float(one.image), to_float(one.result),
                            (jnp.asarray(one.backward), jnp.asarray(one.forward)), strength)
    return to_bytes(made), {}
