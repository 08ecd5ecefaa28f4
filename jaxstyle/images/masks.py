"""Masks from files: where a style belongs, as soft numbers from 0 (nowhere) to 1 (wholly)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import load, load_alpha
from jaxstyle.ops.colors.spaces import LUMA
from jaxstyle.ops.masks import feathered, partition
from jaxstyle.ops.resize import resize_to

FEATHER = 0.01
"""How soft edges are made, as a share of the longer side, unless said otherwise."""


def load_mask(path: str | os.PathLike[str], shape: tuple[int, int] | None = None,
              feather: float = 0.0) -> Array:
    """A mask `[H, W]`: the lightness of a picture, white is inside; or its alpha, if it has one that varies.

    Args:
      shape: height and width that it should have; a mask of equal proportions (to 2 %) is resized.
      feather: standard deviation of its edges' softness, as a share of the longer side.

    Raises:
      JaxstyleError: no picture, empty, or of other proportions than `shape`.
    """
    alpha = load_alpha(path)
    mask = load(path) @ np.asarray(LUMA, np.float32) if alpha is None or np.ptp(alpha) == 0 else alpha
    if mask.max() < 0.5:
        raise JaxstyleError(f"{path}: this mask is black everywhere; paint white what is meant")
    found = jnp.asarray(mask, jnp.float32)
    if shape is not None and found.shape != tuple(shape):
        (height, width), (wanted_height, wanted_width) = found.shape, shape
        if abs(np.log(width / height) - np.log(wanted_width / wanted_height)) > 0.02 + 1 / min(shape):
            raise JaxstyleError(f"{path}: a mask of {width}×{height} pixels does not fit a picture of "
                                f"{wanted_width}×{wanted_height}; draw it over that picture")
        found = resize_to(found, wanted_height, wanted_width, "linear")
    return jnp.clip(feathered(found, feather * max(found.shape)), 0, 1)


def load_regions(paths: Sequence[str | None], shape: tuple[int, int], feather: float = FEATHER,
                 strength: Array | None = None) -> tuple[Array, ...]:
    """Masks `[H, W]` of the regions of a result, in turn, that add up to at most 1.

    Args:
      paths: a file for each; None: all that no other region covers.
      strength: `[H, W]`, what share of every region is painted.

    Raises:
      JaxstyleError: see `load_mask`; or nothing is left for the rest, or it is asked for twice.
    """
    if list(paths).count(None) > 1:
        raise JaxstyleError("two regions are called rest; there is only one rest")
    masks = [load_mask(path, shape, feather) for path in paths if path is not None]
    shares, rest = partition(masks) if masks else ((), jnp.ones(shape))
    if None in paths and float(rest.max()) < 0.5:
        raise JaxstyleError("the regions cover everything, so there is no rest; leave out rest=…")
    inside = iter(shares)
    found = tuple(rest if path is None else next(inside) for path in paths)
    return found if strength is None else tuple(mask * strength for mask in found)


def class_masks(content_map: Any, style_map: Any, least: float = 0.005
                ) -> tuple[list[Array], list[Array | None]]:
    """One region for each class of a semantic map `[H, W, M]`, and where a style's map has that class.

    Classes are the colours that cover at least the share `least` of the content's map; every other pixel
    belongs to the nearest of them.

    Returns:
      Masks `[H, W]` of 0 and 1, and for each a mask `[h, w]` of the style, None (all of it) for a class that
      the style lacks.
    """
    wanted, given = np.asarray(content_map), np.asarray(style_map)
    levels = np.round(wanted * 15).astype(np.int64).reshape(-1, wanted.shape[2])
    _, inverse, counts = np.unique(levels, axis=0, return_inverse=True, return_counts=True)
    flat = wanted.reshape(-1, wanted.shape[2])
    kept = [k for k in np.argsort(-counts) if counts[k] >= least * len(flat)] or [int(np.argmax(counts))]
    inverse = inverse.reshape(-1)
    palette = np.stack([np.median(flat[inverse == k], axis=0) for k in kept])

    def nearest(picture: np.ndarray) -> np.ndarray:
        away = [np.square(picture - colour).sum(-1) for colour in palette]
        nearest: np.ndarray = np.argmin(np.stack(away), axis=0)
        return nearest

    ours, theirs = nearest(wanted), nearest(given)
    regions = [jnp.asarray(ours == k, jnp.float32) for k in range(len(palette))]
    parts = [jnp.asarray(theirs == k, jnp.float32) if (theirs == k).mean() >= least else None
             for k in range(len(palette))]
    return regions, parts
