"""Style as optimal transport of features (Kolkin, Salavon & Shakhnarovich 2019, "Style Transfer by Relaxed
Optimal Transport and Self-Similarity", STROTSS, arXiv:1904.12785).

Both pictures are sets of *hypercolumns* at some thousand positions, drawn anew at every evaluation: the
features of several layers there, interpolated, beside the colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxstyle.errors import JaxstyleError
from jaxstyle.losses.checks import blend_weights, first_key, same_length, styles_seen
from jaxstyle.losses.look import Features, Look
from jaxstyle.ops.matching import unit
from jaxstyle.pytrees import pytree, static
from jaxstyle.references import References

LAYERS = ("relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1", "relu3_2", "relu3_3", "relu4_1", "relu4_2")
LUMA = ((0.577350, 0.577350, 0.577350), (-0.577350, 0.788675, -0.211325), (-0.577350, -0.211325, 0.788675))
"""Rows: the directions in RGB of lightness and two colours that the authors' program compares palettes in."""


def cosine_distances(x: Array, y: Array) -> Array:
    """1 − cos between all rows of `x` `[n, D]` and `y` `[m, D]`, `[n, m]` (Kolkin et al. 2019, equation
    6)."""
    return 1 - jnp.matmul(unit(x), unit(y).T, precision=lax.Precision.HIGHEST)


def euclidean_distances(x: Array, y: Array) -> Array:
    """|x_i − y_j| / √D between all rows of `x` `[n, D]` and `y` `[m, D]`, `[n, m]`; its gradient is 0 where
    they meet."""
    squares = (jnp.sum(jnp.square(x), axis=-1)[:, None] + jnp.sum(jnp.square(y), axis=-1)[None]
               - 2 * jnp.matmul(x, y.T, precision=lax.Precision.HIGHEST))
    return jnp.sqrt(jnp.maximum(squares / x.shape[-1], 1e-9))


def relaxed_transport(costs: Array) -> Array:
    """Relaxed earth mover's distance of two sets with `costs` `[n, m]` (Kolkin et al. 2019, equations 3 to
    5): the greater of the mean least cost of each row and of each column, for each side alone gives a bound
    from below."""
    return jnp.maximum(costs.min(axis=1).mean(), costs.min(axis=0).mean())


def moment_distance(x: Array, y: Array) -> Array:
    """|μx − μy|₁ / D + |Σx − Σy|₁ / D² of two sets `[n, D]` and `[m, D]` (Kolkin et al. 2019, equation 7)."""
    def moments(z: Array) -> tuple[Array, Array]:
        mean = z.mean(axis=0)
        centred = z - mean[None]
        return mean, jnp.matmul(centred.T, centred, precision=lax.Precision.HIGHEST) / (z.shape[0] - 1)

    (mean_x, covariance_x), (mean_y, covariance_y) = moments(x), moments(y)
    return jnp.abs(mean_x - mean_y).mean() + jnp.abs(covariance_x - covariance_y).mean()


def palette_distance(x: Array, y: Array) -> Array:
    """Relaxed earth mover's distance of two sets of colours `[n, 3]` and `[m, 3]` in [0, 1], by cosine plus
    Euclidean distance in a decorrelated space (Kolkin et al. 2019, §2.3, as the authors' program has it)."""
    matrix = jnp.asarray(LUMA, x.dtype).T
    x, y = x @ matrix, y @ matrix
    return relaxed_transport(cosine_distances(x, y) + euclidean_distances(x, y))


def positions(key: Array, shape: Sequence[int], count: int) -> Array:
    """`count` places `[count, 2]` in [0, 1)² (row, column), spread evenly: a grid of about square cells with
    one random offset, of whose cells a random part is taken (without repeats)."""
    height, width = shape
    rows = max(1, round((count * height / width) ** 0.5))
    columns = -(-count // rows)
    offset_key, choice_key = jax.random.split(key)
    cells = jnp.meshgrid(jnp.arange(rows), jnp.arange(columns), indexing="ij")
    grid = jnp.stack(cells, axis=-1).reshape(-1, 2)
    places = (grid + jax.random.uniform(offset_key, (1, 2))) / jnp.array([[rows, columns]])
    return jax.random.permutation(choice_key, places)[:count]


def interpolated(features: Array, places: Array) -> Array:
    """Features `[h, w, C]` at `places` `[n, 2]` in [0, 1)², bilinearly from the centres of cells, `[n,
    C]`."""
    height, width = features.shape[:2]
    at = places.astype(features.dtype) * jnp.array([[height, width]], features.dtype) - 0.5
    low = jnp.floor(at)
    part = at - low

    def corner(i: int, j: int) -> Array:
        row = jnp.clip(low[:, 0] + i, 0, height - 1).astype(jnp.int32)
        column = jnp.clip(low[:, 1] + j, 0, width - 1).astype(jnp.int32)
        share = (part[:, 0] if i else 1 - part[:, 0]) * (part[:, 1] if j else 1 - part[:, 1])
        return share[:, None] * features[row, column]

    return corner(0, 0) + corner(0, 1) + corner(1, 0) + corner(1, 1)


def sampled_columns(image: Array, features: Features, scales: Mapping[str, Any], places: Array
                    ) -> Array:
    """Hypercolumns at `places`: colour `[H, W, 3]` and scaled features of each layer, `[n, 3 + Σ C]`."""
    parts = [interpolated(features[layer], places) * scale for layer, scale in scales.items()]
    return jnp.concatenate([interpolated(image, places), *parts], axis=-1)


def scales_of(styles: Sequence[Mapping[str, Array]], layers: Sequence[str], weights: Sequence[Any]
              ) -> dict[str, Array]:
    """Factor of each layer: its weight divided by the greatest mean activation of a channel in the styles,
    so that features are of the size of colours in any network."""
    def largest(layer: str) -> Array:
        means = jnp.stack([style[layer].mean(axis=(0, 1)).max() for style in styles])
        return jnp.maximum(means.max(), 1e-6)

    return {layer: weight / largest(layer) for layer, weight in zip(layers, weights)}


@pytree
class RelaxedTransport:
    """Makes the image's hypercolumns, its moments and its palette those of the styles (STROTSS' style term).

    The loss is (r + m + p · palette) / (2 + p) of the relaxed earth mover's distance r, the moments m and
    the palette, p = `palette`. Every evaluation draws other positions, from the recipe's seed: it wants a
    solver without a line search, such as `RMSprop`. With maps in the references, a match between places of
    different meaning costs `gamma` times their maps' cosine distance more.

    Attributes:
      weight: factor of the whole term; layer_weights: one factor per layer, beside `scales_of`.
      blend: coefficients of the styles, scaled to sum to 1; empty means equal shares.
      palette: weight of the colours beside features and moments; gamma: of the maps in matching.
      layers: of which hypercolumns are made; samples: positions of each image per evaluation.
    """

    weight: Any = 1.0
    layer_weights: tuple[Any, ...] = (1.0,) * len(LAYERS)
    blend: tuple[Any, ...] = ()
    palette: Any = 1.0
    gamma: Any = 1.0
    layers: tuple[str, ...] = static(default=LAYERS)
    samples: int = static(default=1024)

    def __post_init__(self) -> None:
        same_length("relaxed transport", self.layers, self.layer_weights)
        if self.samples < 2:
            raise JaxstyleError(f"relaxed transport samples is {self.samples}; compare at least 2 positions")

    def target(self, references: References, look: Look) -> dict[str, Any]:
        """Images and features of the styles with their shares, scales, maps and the first PRNG key."""
        found = styles_seen("relaxed transport", references, look, self.layers)
        maps = references.style_maps if references.content_map is not None else (None,) * len(found)
        return {"styles": tuple((image, {layer: style[layer] for layer in self.layers}, semantic)
                                for image, style, semantic in zip(references.styles, found, maps)),
                "shares": tuple(map(jnp.asarray, blend_weights(self.blend, len(found)))),
                "scales": scales_of(found, self.layers, self.layer_weights),
                "map": references.content_map, "key": jax.random.key_data(first_key(references))}

    def memory(self, target: dict[str, Any]) -> Array:
        """The first PRNG key, as numbers."""
        key: Array = target["key"]
        return key

    def loss(self, image: Array, features: Features, target: dict[str, Any], memory: Array
             ) -> tuple[Array, Array]:
        """The three parts, without `weight`, and the next key."""
        key, following = jax.random.split(jax.random.wrap_key_data(memory))
        total = jnp.zeros((), image.dtype)
        here = positions(key, image.shape[:2], self.samples)
        x = sampled_columns(image, features, target["scales"], here)
        for index, ((style, found, semantic), share) in enumerate(zip(target["styles"], target["shares"])):
            there = positions(jax.random.fold_in(key, index + 1), style.shape[:2], self.samples)
            y = sampled_columns(style, found, target["scales"], there)
            costs = cosine_distances(x, y)
            if semantic is not None:
                costs = costs + self.gamma * cosine_distances(interpolated(target["map"], here),
                                                              interpolated(semantic, there))
            parts = (relaxed_transport(costs) + moment_distance(x, y)
                     + self.palette * palette_distance(x[:, :3], y[:, :3]))
            total = total + share * parts / (2 + self.palette)
        return total, jax.random.key_data(following)
