"""Masks as arrays: soft edges, shares that add up to one, guides of a layer."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxstyle import ops
from jaxstyle.ops.resize import resize_to


def feathered(mask: Array, width: float) -> Array:
    """A mask `[H, W]` with edges blurred by a Gaussian of standard deviation `width` pixels (static)."""
    if width <= 0:
        return mask
    radius = max(1, round(3 * width))
    at = np.arange(-radius, radius + 1)
    kernel = np.exp(-(at**2) / (2 * width**2))
    taps = jnp.asarray(kernel / kernel.sum(), mask.dtype)

    def along(x: Array) -> Array:  # the last axis
        padded = jnp.pad(x, ((0, 0), (radius, radius)), mode="edge")
        return lax.conv_general_dilated(
            padded[:, None, :], taps[None, None], (1,), "VALID", precision=lax.Precision.HIGHEST)[:, 0]

    return along(along(mask).T).T


def partition(masks: Sequence[Array]) -> tuple[tuple[Array, ...], Array]:
    """Masks `[H, W]` in [0, 1] whose sum is at most 1, and the rest that makes it 1.

    Where they overlap they share in proportion.
    """
    total = sum(masks, start=jnp.zeros_like(masks[0]))
    scale = 1 / jnp.maximum(total, 1)
    shares = tuple(mask * scale for mask in masks)
    return shares, jnp.maximum(1 - total * scale, 0)


def guide(mask: Array) -> Array:
    """A mask `[h, w]` at the size of a layer, scaled so that Σ g² / N = 1 (Gatys et al. 2017, section 4).

    An empty mask stays zero.
    """
    mean_square = jnp.mean(jnp.square(mask))
    return mask / jnp.sqrt(jnp.maximum(mean_square, jnp.finfo(mask.dtype).tiny))


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
