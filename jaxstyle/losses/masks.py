"""Masks and maps at the size of a layer."""

from __future__ import annotations

from jax import Array

from jaxstyle import ops
from jaxstyle.ops.resize import resize_to


def pooled(semantic: Array, height: int, width: int) -> Array:
    """A semantic map `[H, W, M]` at the `[height, width, M]` of a layer: average pooling, as a network pools.

    Where halving does not lead there exactly, the rest is linear interpolation.
    """
    while semantic.shape[0] >= 2 * height and semantic.shape[1] >= 2 * width:
        semantic = ops.average_pool(semantic)
    return resize_to(semantic, height, width, "linear", clip=False)


def layer_mask(mask: Array, features: Array) -> Array:
    """A mask `[H, W]` at the size of a layer's features `[h, w, c]`, as `[h, w]`."""
    return pooled(mask[..., None], features.shape[0], features.shape[1])[..., 0]
