"""Colours as points: a space in which distances are those that people see, and one set of colours moved to
another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array, lax


def oklab(image: Array) -> Array:
    """sRGB in [0, 1] `[..., 3]` as OKLab (Ottosson 2020): lightness 0..1, green–red and blue–yellow."""
    linear = jnp.where(image <= 0.04045, image / 12.92, ((jnp.maximum(image, 0) + 0.055) / 1.055) ** 2.4)
    to_cones = jnp.array([[0.4122214708, 0.5363325363, 0.0514459929],
                          [0.2119034982, 0.6806995451, 0.1073969566],
                          [0.0883024619, 0.2817188376, 0.6299787005]], image.dtype)
    to_lab = jnp.array([[0.2104542553, 0.7936177850, -0.0040720468],
                        [1.9779984951, -2.4285922050, 0.4505937099],
                        [0.0259040371, 0.7827717662, -0.8086757660]], image.dtype)
    cones = jnp.cbrt(jnp.matmul(linear, to_cones.T, precision=lax.Precision.HIGHEST))
    return jnp.matmul(cones, to_lab.T, precision=lax.Precision.HIGHEST)


def directions(count: int) -> Array:
    """Unit vectors spread evenly over half a sphere (a golden spiral), `[3, count]`."""
    k = jnp.arange(count) + 0.5
    height, angle = 1 - k / count, jnp.pi * (1 + 5**0.5) * k
    radius = jnp.sqrt(1 - height**2)
    return jnp.stack([height, radius * jnp.cos(angle), radius * jnp.sin(angle)])


def moments(image: Array) -> tuple[Array, Array]:
    """Mean `[3]` and covariance `[3, 3]` of the colours of `[H, W, 3]`, with 1e-5 on the diagonal."""
    flat = image.reshape(-1, 3)
    mean = flat.mean(axis=0)
    away = flat - mean[None]
    return mean, away.T @ away / flat.shape[0] + 1e-5 * jnp.eye(3, dtype=image.dtype)


def matched_colours(image: Array, styles: Sequence[Array], shares: Sequence[Any]) -> Array:
    """`image` `[H, W, 3]` in [0, 1] with the mean and covariance of the colours of `styles`, clipped to [0,
    1]."""
    means, covariances = zip(*map(moments, styles), strict=True)
    return with_moments(image, sum(share * mean for share, mean in zip(shares, means)),
                        sum(share * covariance for share, covariance in zip(shares, covariances)))


def with_moments(image: Array, goal_mean: Array, goal: Array) -> Array:
    """`image` `[H, W, 3]` in [0, 1] with colours of some mean `[3]` and covariance `[3, 3]`, clipped to
    [0, 1].

    The symmetric (Monge–Kantorovich) map of Pitié & Kokaram 2007.
    """
    mean, covariance = moments(image)
    root, inverse = power(covariance, 0.5), power(covariance, -0.5)
    transform = inverse @ power(root @ goal @ root, 0.5) @ inverse
    return jnp.clip((image - mean[None, None]) @ transform + goal_mean[None, None], 0, 1)


def power(matrix: Array, exponent: float) -> Array:
    """A symmetric positive matrix to some power."""
    values, vectors = jnp.linalg.eigh(matrix)
    power: Array = (vectors * jnp.maximum(values, 1e-9)[None] ** exponent) @ vectors.T
    return power
