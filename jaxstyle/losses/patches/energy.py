"""How far features are from the style patches that were matched to them: energy and its exact gradient.

Li & Wand 2016 (CNNMRF, arXiv:1601.04589, equation 2). Matches are constants here.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxstyle import ops
from jaxstyle.losses.patches.matching import Candidates, Matches, Search, match_patches


def coverage(height: int, width: int, size: int, stride: int = 1) -> np.ndarray:
    """How many size×size patches cover each position, `[height, width]`; at least 1 if stride ≤ size."""
    def along(length: int) -> np.ndarray:
        counts = np.zeros(length, int)
        for start in ops.patch_starts(length, size, stride):
            counts[start : start + size] += 1
        return counts

    covered: np.ndarray = along(height)[:, None] * along(width)[None]
    return covered


def patch_count(height: int, width: int, size: int, stride: int = 1) -> int:
    """How many patches there are."""
    return len(ops.patch_starts(height, size, stride)) * len(ops.patch_starts(width, size, stride))


def laid(features: Array, style: Array, corners: Array, size: int) -> tuple[Array, Array]:
    """Patches of a style laid over each other where they belong, and how far the features are from them.

    Args:
      features: `[h, w, C]`; style: `[Hs, Ws, C]`, several copies one below the other.
      corners: `[h, w]`, the flat position in the style of the first pixel of the patch that begins here; −1:
        none.

    Returns:
      Sum over the patches that cover a position of what they have there, `[h, w, C]`; and the sum over
      the same of its squared distance from the features, `[h, w]`.
    """
    height, width, channels = features.shape
    pixels = style.reshape(-1, channels)
    corners = jnp.pad(corners, ((size - 1, 0), (size - 1, 0)), constant_values=-1)
    total, squares = jnp.zeros_like(features), jnp.zeros((height, width), features.dtype)
    for i in range(size):
        for j in range(size):
            # The patch that covers a position with its element (i, j) begins i rows and j columns before.
            corner = corners[size - 1 - i :, size - 1 - j :][:height, :width]
            here = (corner >= 0)[:, :, None]
            piece = jnp.where(here, pixels[jnp.maximum(corner, 0) + i * style.shape[1] + j], 0)
            total = total + piece
            squares = squares + jnp.sum(jnp.square(jnp.where(here, features - piece, 0)), axis=-1)
    return total, squares


def spread(values: Array, height: int, width: int, search: Search) -> Array:
    """Values of patches on their grid as `[height, width]` by where patches begin; −1 elsewhere."""
    rows, columns = (np.asarray(ops.patch_starts(side, search.size, search.stride))
                     for side in (height, width))
    return jnp.full((height, width), -1, jnp.int32).at[rows[:, None], columns[None]].set(values)


def patch_loss(features: Array, styles: Sequence[Candidates], matches: Matches, search: Search,
               shared: bool = False) -> Array:
    """Σ_i ‖Ψ_i(F) − Ψ_NN(i)(S)‖² over all patches of features `[h, w, C]` (Li & Wand 2016, eq. 2).

    With n patches over a position and T the sum of what they have there, it is quadratic in F with gradient
    2(nF − T) and Hessian 2n, so it is written as its own Taylor expansion: patches are never laid out.

    Args:
      shared: divide what stands at a position by 2n, so that the gradient is F − T/n: the one that CNNMRF
        passes back (whatever its docstrings call the loss).
    """
    height, width, _ = features.shape
    here = lax.stop_gradient(features)
    corners = spread(matches.corner, height, width, search)
    which = spread(matches.style, height, width, search)
    parts = [laid(here, style.features.reshape(-1, *style.features.shape[2:]),
                  jnp.where(which == k, corners, -1), search.size) for k, style in enumerate(styles)]
    total, squares = lax.stop_gradient((sum(t for t, _ in parts), sum(s for _, s in parts)))
    covered = coverage(height, width, search.size, search.stride)
    count = jnp.asarray(covered, features.dtype)[:, :, None]
    factor = jnp.asarray(np.where(covered, 1 / (2 * np.maximum(covered, 1)), 0) if shared
                         else np.ones_like(covered), features.dtype)
    step = features - here
    return jnp.sum(factor * squares) + jnp.sum(
        factor[:, :, None] * (2 * (count * here - total) + count * step) * step)


def nearest_patch_loss(features: Array, key: Array, styles: Sequence[Candidates], search: Search,
                       shared: bool = False) -> Array:
    """`patch_loss` with the matches of this very `key` `[h, w, D]`."""
    return patch_loss(features, styles, match_patches(key, styles, search), search, shared)
