"""Flicker: how much neighbouring frames of a video differ once motion is taken away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxstyle.ops.warp import warp


@jax.jit
def flicker(previous: Array, current: Array, backward: Array, consistent: Array) -> Array:
    """Mean |x_t − warp(x_{t−1})| over consistent places and channels; 0 where nothing is consistent.

    Args:
      previous, current: neighbouring frames `[H, W, 3]` in [0, 1].
      backward: flow from the current to the previous frame `[H, W, 2]`.
      consistent: weights `[H, W]` in [0, 1] (`video.flow.consistency`).
    """
    difference = jnp.abs(current - warp(previous, backward)).mean(axis=-1)
    return (consistent * difference).sum() / jnp.maximum(consistent.sum(), 1)


def per_second(times: Sequence[float], values: Iterable[float]) -> list[tuple[int, float]]:
    """Mean of `values` within each second of `times`: (second, mean), without the seconds that have none."""
    seconds = np.floor(np.asarray(times, float)).astype(int)
    numbers = np.asarray(list(values), float)
    return [(int(second), float(numbers[seconds == second].mean())) for second in np.unique(seconds)]
