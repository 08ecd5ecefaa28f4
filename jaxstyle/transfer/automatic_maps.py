"""Semantic maps without drawing them: what looks alike to the network, in photo and painting together.

Deep features of both pictures are clustered at once (k-means), so that a label means the same in both. Photo
and painting differ in how they are made, all over, so each channel is first brought to mean 0 and deviation 1
within each
picture: what is left is what stands out there. Labels that do not occur in every picture are dissolved.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.ops.resize import fit_shape, resize_to

LAYERS = ("relu3_1", "relu4_1")
SIZE = 256  # longer side of what the network sees
CELL = 4  # pixels of it per side of what is clustered
HEIGHT_WEIGHT = 0.35  # of the height in the picture, against 1 for all features of a layer: skies are above
COLOUR_WEIGHT = 0.6  # of lightness and two colour differences
BLUR = 1.5  # cells over which distances to the labels are averaged
LEAST_SHARE = 0.01  # of each picture that a label must cover
ROUNDS, SAMPLES = 30, 4000


@partial(jax.jit, static_argnames="layers")
def _features(weights: Weights, image: Array, layers: tuple[str, ...]) -> dict[str, Array]:
    return weights.features(image, layers)


def described(weights: Weights, image: Array | np.ndarray, layers: tuple[str, ...] = LAYERS) -> np.ndarray:
    """What is clustered: for every cell of an image `[H, W, 3]` one vector, `[h, w, D]`."""
    height, width = fit_shape(image.shape[0], image.shape[1], min(SIZE, max(image.shape[:2])))
    small = resize_to(jnp.asarray(image), height, width)
    rows, columns = max(1, height // CELL), max(1, width // CELL)
    parts = []
    for feature in _features(weights, small, layers).values():
        parts.append(unit_spread(np.asarray(resize_to(feature, rows, columns, "linear", clip=False))))
    rgb = np.asarray(resize_to(small, rows, columns, "linear"))
    opponent = rgb @ np.array([[1, 1, -0.5], [1, -1, -0.5], [1, 0, 1]]) / 3
    parts.append(COLOUR_WEIGHT * unit_spread(opponent))
    ramp = np.broadcast_to(np.linspace(-1, 1, rows)[:, None, None], (rows, columns, 1))
    parts.append(HEIGHT_WEIGHT * unit_spread(ramp))
    return blurred(np.concatenate(parts, axis=-1), 1.0).astype(np.float32)


def unit_spread(values: np.ndarray) -> np.ndarray:
    """Channels of `[h, w, C]` with mean 0 and deviation 1, all together of mean squared length 1."""
    centred = values - values.mean((0, 1))
    deviation = centred.std((0, 1))
    alive = deviation > 1e-3 * max(float(deviation.max()), 1e-12)
    factor = np.where(alive, 1 / np.maximum(deviation, 1e-12), 0)
    normalised: np.ndarray = centred * factor / np.sqrt(max(1, alive.sum()))
    return normalised


def blurred(values: np.ndarray, deviation: float) -> np.ndarray:
    """Gaussian mean over the first two axes of `[h, w, C]`; the border counts on."""
    reach = max(1, round(3 * deviation))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        pad = [(reach, reach) if a == axis else (0, 0) for a in range(3)]
        wide = np.pad(values, pad, mode="edge")
        values = sum(w * np.take(wide, range(i, i + values.shape[axis]), axis) for i, w in enumerate(kernel))
    return np.asarray(values)


def k_means(points: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Centres `[count, D]` of points `[N, D]` (Lloyd 1982, begun as k-means++, Arthur & Vassilvitskii
    2007)."""
    generator = np.random.default_rng(seed)
    centres = points[[generator.integers(len(points))]]
    while len(centres) < count:
        nearest = distances(points, centres).min(1)
        if nearest.sum() <= 0:
            break  # fewer different points than centres
        centres = np.vstack([centres, points[[generator.choice(len(points), p=nearest / nearest.sum())]]])
    for _ in range(ROUNDS):
        owner = distances(points, centres).argmin(1)
        moved = np.stack([points[owner == k].mean(0) if np.any(owner == k) else centres[k]
                          for k in range(len(centres))])
        if np.allclose(moved, centres, atol=1e-6):
            break
        centres = moved
    return centres


def distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared distances `[N, K]`, not below 0."""
    squares = np.square(points).sum(1)[:, None] - 2 * points @ centres.T + np.square(centres).sum(1)[None]
    distances: np.ndarray = np.maximum(squares, 0)
    return distances


def shared_labels(maps: Sequence[np.ndarray]) -> tuple[list[np.ndarray], int]:
    """Numbers of labels `[h, w]` from distances `[h, w, K]`, without labels that some picture (almost) lacks.

    Such labels are dissolved one after the other, the rarest first: their cells go to the next nearest label.
    """
    alive = list(range(maps[0].shape[-1]))
    while True:
        found = [np.argmin(m[..., alive], axis=-1) for m in maps]
        shares = np.min([np.bincount(f.ravel(), minlength=len(alive)) / f.size for f in found], axis=0)
        if len(alive) == 1 or shares.min() >= LEAST_SHARE:
            return found, len(alive)
        del alive[int(np.argmin(shares))]


def automatic_maps(weights: Weights, images: Sequence[Array | np.ndarray], count: int = 6, seed: int = 0,
                   layers: tuple[str, ...] = LAYERS) -> list[np.ndarray]:
    """Numbers of labels `[H, W]` for each of several images `[H, W, 3]`; at most `count` labels, all of them
    in each.

    Raises:
      JaxstyleError: fewer than two labels are asked for, or the pictures have nothing in common to tell
        apart.
    """
    if count < 2:
        raise JaxstyleError(f"automatic maps need at least 2 labels, not {count}")
    cells = [described(weights, image, layers) for image in images]
    generator = np.random.default_rng(seed)
    flat = [cell.reshape(-1, cell.shape[-1]) for cell in cells]
    sampled = [points[generator.choice(len(points), min(SAMPLES, len(points)), replace=False)]
               for points in flat]
    centres = k_means(np.concatenate(sampled), count, seed)
    maps = []
    for image, cell, points in zip(images, cells, flat):
        apart = blurred(distances(points, centres).reshape(*cell.shape[:2], -1), BLUR)
        whole = resize_to(apart.astype(np.float32), image.shape[0], image.shape[1], "linear", clip=False)
        maps.append(np.asarray(whole))
    found, left = shared_labels(maps)
    if left < 2:
        raise JaxstyleError("no two regions of these pictures correspond; draw maps by hand, or go "
                            "without them")
    return found


def label_colours(count: int) -> np.ndarray:
    """Colours that are easy to tell apart, `[count, 3]` in [0, 1] at 8 bits."""
    hues = [(k * 0.6180339887) % 1 for k in range(count)]
    rows = [colorsys.hsv_to_rgb(hue, 1.0 if k % 2 == 0 else 0.6, 1.0 if k % 3 else 0.75) for k,
            hue in enumerate(hues)]
    colours: np.ndarray = (np.rint(np.array(rows) * 255) / 255).astype(np.float32)
    return colours


def painted(numbers: np.ndarray) -> np.ndarray:
    """A map `[H, W]` of numbers as a picture `[H, W, 3]` of flat colours."""
    coloured: np.ndarray = label_colours(int(numbers.max()) + 1)[numbers]
    return coloured


def outlined(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """A picture `[H, W, 3]` under a tint of its labels `[H, W]`, with the outlines between them drawn in."""
    colours = label_colours(int(numbers.max()) + 1)[numbers]
    edge = np.zeros(numbers.shape, bool)
    for axis in (0, 1):
        edge |= numbers != np.roll(numbers, 1, axis)
    edge[0], edge[:, 0] = False, False
    edge |= np.roll(edge, -1, 0) | np.roll(edge, -1, 1)
    overlay: np.ndarray = np.where(edge[..., None], 1 - 0.15 * colours, 0.75 * image + 0.25 * colours)
    return overlay.astype(np.float32)


def preview(images: Sequence[np.ndarray], maps: Sequence[np.ndarray], height: int = 384) -> np.ndarray:
    """All pictures with their outlines side by side, `[height, W, 3]`."""
    strips = []
    for image, numbers in zip(images, maps):
        drawn = outlined(np.asarray(image), numbers)
        width = max(1, round(drawn.shape[1] * height / drawn.shape[0]))
        strips += [np.asarray(resize_to(drawn, height, width)), np.ones((height, 8, 3), np.float32)]
    return np.concatenate(strips[:-1], axis=1)
