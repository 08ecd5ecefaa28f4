"""How much of the photo's drawing is gone: one number without units, blind to colour and contrast."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxstyle.ops import average_pool
from jaxstyle.ops.colors.spaces import split

SCALES = 3


def slopes(lightness: Array) -> tuple[Array, Array]:
    """Derivatives of `[H, W]` to the right and downwards, `[H − 2, W − 2]` each (Sobel)."""
    rows = lightness[:, 2:] - lightness[:, :-2]
    columns = lightness[2:] - lightness[:-2]
    right = (rows[:-2] + 2 * rows[1:-1] + rows[2:]) / 8
    return right, (columns[:, :-2] + 2 * columns[:, 1:-1] + columns[:, 2:]) / 8


def changed_edges(lightness: Array, reference: Array) -> Array:
    """1 − 2 Σ |∇a · ∇b| / Σ (|∇a|² + |∇b|²) of two `[H, W]`, each divided by its root mean square slope.

    0: the same edges in the same directions everywhere, whatever their contrast and whichever side is
    brighter; 1: none in common.
    """
    ours, theirs = slopes(lightness), slopes(reference)
    tiny = jnp.finfo(lightness.dtype).tiny

    def power(field: tuple[Array, Array]) -> Array:
        return jnp.mean(jnp.square(field[0]) + jnp.square(field[1]))

    dot = jnp.mean(jnp.abs(ours[0] * theirs[0] + ours[1] * theirs[1]))
    scale = jnp.sqrt(jnp.maximum(power(ours), tiny)) * jnp.sqrt(jnp.maximum(power(theirs), tiny))
    flat = (power(ours) <= tiny) & (power(theirs) <= tiny)
    return jnp.where(flat, 0.0, 1 - dot / jnp.maximum(scale, tiny))


@jax.jit
def distortion(image: Any, photo: Any) -> Array:
    """Mean over `SCALES` halvings of `changed_edges` of the lightness (OKLab) of two `[H, W, 3]`, 0 to 1.

    About 0 for a photo in other colours, near 1 for an unrelated picture (ours).
    """
    ours, theirs = (split(jnp.asarray(picture))[0] for picture in (image, photo))
    found = []
    for _ in range(SCALES):
        if min(ours.shape[:2]) < 3:
            break
        found.append(changed_edges(ours[..., 0], theirs[..., 0]))
        ours, theirs = average_pool(ours), average_pool(theirs)
    return jnp.mean(jnp.stack(found)) if found else jnp.zeros(())
