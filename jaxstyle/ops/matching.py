"""Matching of positions by what stands there: centred cosines, alone or with the positions around."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from jaxstyle import ops

SHORT = 1e-6


def unit(x: Array) -> Array:
    """Every vector along the last axis divided by its length, but at least by `SHORT`: zero vectors stay
    zero, and their gradient is finite."""
    squares = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    return x * lax.rsqrt(jnp.maximum(squares, SHORT**2))


def flat(x: Array) -> Array:
    """`[h, w, C]` -> `[h · w, C]`."""
    return x.reshape(-1, x.shape[-1])


def centred_key(x: Array, mean: Array, semantic: Array | None, gamma: Any) -> Array:
    """What is matched: `[h, w, D]` less `mean`, made unit vectors; with a map `[h, w, M]` beside its unit
    vectors times √γ, so that scores are cos(features) + γ · cos(map)."""
    parts = [unit(x - mean[None, None])]
    if semantic is not None:
        parts.append(jnp.sqrt(jnp.asarray(gamma, x.dtype)) * unit(semantic))
    return jnp.concatenate(parts, axis=-1)


def nearest_position(key: Array, style: Array, patch: int = 1) -> tuple[Array, Array]:
    """For every position of `key` `[h, w, D]` the flat index of that of `style` `[h', w', D]` whose patch
    around it fits best, and its score, the sum of the products of the patches' vectors: `[h, w]` each.

    Args:
      patch: side of the patches, odd; beyond their rims both go on as they end.
    """
    if patch == 1:
        index, score = ops.nearest(flat(key), flat(style))
        return index.reshape(key.shape[:2]), score.reshape(key.shape[:2])
    rim = patch // 2
    here, there = (jnp.pad(x, ((rim, rim), (rim, rim), (0, 0)), mode="edge") for x in (key, style))
    return ops.nearest_patches(here, there, patch, normalised=False)


def matched(query: Array, styles: Sequence[Array], query_map: Array | None = None,
            style_maps: Sequence[Array | None] = (), gamma: Any = 1.0, patch: int = 1) -> Array:
    """For each position of `query` `[h, w, D]` what stands at the position of any of `styles` (each
    `[h', w', D]`) that resembles it most.

    Resemblance is the cosine after subtracting each side's own mean (Kolkin et al. 2022, §3.2), plus γ times
    that of the maps `[h, w, M]` and `[h', w', M]`, if there are any; with a `patch`, summed over the patches
    around both. One style is compared at a time, in blocks.
    """
    maps = list(style_maps) or [None] * len(styles)
    total = sum((x.sum(axis=(0, 1)) for x in styles), start=jnp.zeros((), query.dtype))
    mean = total / sum(x.shape[0] * x.shape[1] for x in styles)
    key = centred_key(query, query.mean(axis=(0, 1)), query_map, gamma)
    best = jnp.full(query.shape[:2], -jnp.inf, query.dtype)
    found = jnp.zeros_like(query)
    for style, semantic in zip(styles, maps, strict=True):
        index, score = nearest_position(key, centred_key(style, mean, semantic, gamma), patch)
        found = jnp.where((score > best)[..., None], flat(style)[index], found)
        best = jnp.maximum(score, best)
    return lax.stop_gradient(found)
