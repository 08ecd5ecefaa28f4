"""The screened Poisson equation, solved by the cosine transform."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.scipy.fft import dctn, idctn


def screened_poisson(colours: Array, gradients: Array, screen: Any) -> Array:
    """The image O `[H, W, C]` that minimises Σ λ (O − S)² + |∇O − ∇I|² for S = `colours`, I = `gradients`.

    Mechrez, Shechtman & Zelnik-Manor 2017, "Photorealistic Style Transfer with Screened Poisson Equation",
    equation 2 (Bhat et al. 2008). With ∇ the differences of neighbouring pixels inside the image, the minimum
    solves (λ + L) O = λ S + L I, L the graph Laplacian of the grid, which the cosine transform (type II)
    diagonalises.

    Args:
      screen: λ ≥ 0, scalar. What is finer than about 2π/√λ pixels comes from I, what is coarser from S;
        at 0 all but the mean is from I.
    """
    def stiffness(count: int) -> Array:
        return 2 - 2 * jnp.cos(jnp.pi * jnp.arange(count, dtype=colours.dtype) / count)

    height, width, _ = colours.shape
    laplacian = (stiffness(height)[:, None] + stiffness(width)[None])[:, :, None]
    share = laplacian / jnp.maximum(screen + laplacian, jnp.finfo(colours.dtype).tiny)
    # O = S + share · (I − S): exact where both agree, and without cancellation for a large λ.
    change = idctn(share * dctn(gradients - colours, axes=(0, 1), norm="ortho"), axes=(0, 1), norm="ortho")
    return colours + change


def screen_for(amount: Any, size: int) -> Any:
    """λ of `screened_poisson` for an amount of the photo's gradients, 0 (none) to 1 (all but the mean).

    √λ = (1 − amount)/amount · 512/size: the same amount means the same detail relative to a picture whose
    longer side is `size`; at ½ what is finer than 1/80 of it comes from the photo.
    """
    tiny = jnp.finfo(jnp.float32).eps
    return jnp.square((1 - amount) / jnp.maximum(amount, tiny) * 512 / size)
