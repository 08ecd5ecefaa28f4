"""Colours of two pictures compared: how far apart their palettes are, and how much coloured speckle there
is."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxstyle.ops.colors.palette import directions, oklab
from jaxstyle.ops.local_affine import mean_around

DIRECTIONS, QUANTILES = 64, 256


def palette_distance(image: Any, style: Any) -> Array:
    """Sliced Wasserstein-1 distance of the colours of two pictures `[H, W, 3]` in OKLab, whatever their
    sizes.

    Mean over `DIRECTIONS` fixed directions (spread evenly over the half sphere) of the mean difference of
    `QUANTILES` quantiles of the projected colours (Rabin, Peyré, Delon & Bernot 2011). 0.02 is about a just
    visible shift of all colours.
    """
    at = (jnp.arange(QUANTILES) + 0.5) / QUANTILES

    def quantiles(picture: Any) -> Array:
        return jnp.quantile(oklab(jnp.asarray(picture).reshape(-1, 3)) @ directions(DIRECTIONS), at, axis=0)

    return jnp.mean(jnp.abs(quantiles(image) - quantiles(style)))


def chroma_noise(image: Any) -> Array:
    """Coloured speckle at the scale of one pixel: root mean square of what the chroma (a, b of OKLab) of a
    pixel has beyond the mean of the 3×3 around it."""
    chroma = oklab(jnp.asarray(image))[..., 1:]
    return jnp.sqrt(jnp.mean(jnp.square(chroma - mean_around(chroma, 1))))


def relative_chroma_noise(image: Any, style: Any) -> Array:
    """`chroma_noise` of a picture divided by that of its painting (1: as much as the painting's own)."""
    ratio: Array = jax.jit(chroma_noise)(image) / jnp.maximum(jax.jit(chroma_noise)(style), 1e-6)
    return ratio
