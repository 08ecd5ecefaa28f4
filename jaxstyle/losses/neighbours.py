"""Style by nearest neighbours: everything that stands somewhere in the photo looks like what resembles it
most in the painting (Kolkin et al. 2022, "Neural Neighbor Style Transfer", arXiv:2203.13215).

A *hypercolumn* is what several layers say about one place of a picture: their features at a quarter of its
size, one after the other. Matching is piecewise constant and done once per stage (`Neighbours`), or anew at
every evaluation, layer by layer (`Splitting`, the paper's feature splitting); no gradient flows through it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxstyle import ops
from jaxstyle.errors import JaxstyleError, one_of
from jaxstyle.losses.checks import blend_weights, first_key, same_length, styles_seen
from jaxstyle.losses.look import Features, Look
from jaxstyle.losses.patches.matching import mean_energy
from jaxstyle.ops.colors.palette import matched_colours
from jaxstyle.ops.masks import pooled
from jaxstyle.ops.matching import flat, matched, unit
from jaxstyle.ops.resize import resize_to
from jaxstyle.pytrees import pytree, static
from jaxstyle.references import References

LAYERS = ("relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1", "relu3_2", "relu3_3", "relu3_4",
          "relu4_1", "relu4_2", "relu4_3")
SCALINGS = ("channels", "relative")
REDUCTION = 4
TURNS = (1, 2, 4)


def hypercolumns(features: Features, scales: Mapping[str, Any], shape: tuple[int, int]) -> Array:
    """Features of several layers at one resolution, each times its scale: `[h, w, Σ C]` for `shape` (h, w).

    Larger layers are averaged over 2×2 blocks, as the network pools: every feature counts equally, so that no
    lattice of favoured pixels appears, which interpolation without antialiasing leaves in the picture. The
    rest is linear interpolation.
    """
    parts = [pooled(features[layer], *shape) * scale for layer, scale in scales.items()]
    return jnp.concatenate(parts, axis=-1)


def neighbour_loss(columns: Array, target: Array) -> Array:
    """Mean over positions of 1 − ⟨c/|c|, t⟩ for `columns` and `target` `[h, w, D]`.

    With unit vectors t it is the cosine distance (Kolkin et al. 2022, equation 3). A blend Σ b_k t_k of unit
    vectors, Σ b_k = 1, gives the blend of the distances, because the loss is linear in t.
    """
    return jnp.mean(1 - jnp.sum(unit(columns) * target, axis=-1))


def copies_of(image: Array, turns: int, mirrored: bool) -> tuple[Array, ...]:
    """An image `[H, W, C]` turned by 0°, 180° (2 turns), 90° and 270° (4), and all of them mirrored, too."""
    turned = [jnp.rot90(image, k) if k else image for k in range(0, 4, 4 // turns)]
    return (*turned, *(copy[:, ::-1] for copy in turned)) if mirrored else tuple(turned)


def search_image(content: Array, first: Array, share: Any) -> Array:
    """The image whose hypercolumns are looked up: the photo with part of its coarse structure taken from the
    image that the stage begins with (Kolkin et al. 2022, §3.3).

    content + share · (low(first) − low(content)), where low halves and doubles the size: the finest band is
    always the photo's.
    """
    height, width = content.shape[:2]

    def low(x: Array) -> Array:
        half = resize_to(x, max(1, height // 2), max(1, width // 2), "linear", clip=False)
        return resize_to(half, height, width, "linear", clip=False)

    mixed: Array = content + share * (low(first) - low(content))
    return mixed


@pytree
class Neighbours:
    """Makes every hypercolumn of the image point where its nearest neighbour in the styles points.

    The neighbours are those of `search_image`, found when a stage begins. With maps in the references they
    are sought by what the maps say, too. Several styles are blended: each gives its own neighbours, or all
    are searched together (`pooled`); with regions each does so in its own.

    Attributes:
      weight: factor of the whole term.
      layer_weights: factor of each layer's features in the hypercolumn, beside what `scaling` says.
      blend: coefficients of the styles, scaled to sum to 1; empty means equal shares.
      gamma: weight of the maps in matching, see `centred_key`.
      share: of the stage's first image in the image that is looked up, 0 to 1.
      palette: how far the colours of the image that is looked up are moved to those of the styles before (see
        `matched_colours`), 0 to 1.
      layers: of which hypercolumns are made.
      scaling: "channels": features are divided by their number of channels (the paper's program); "relative":
        by the root of their mean squared length in the styles, so that layers count equally in any network
        (ours).
      patch: side of the patches of hypercolumns that are compared, odd: 1, each alone (the paper), or 3, with
        those around it, so that neighbours in the picture were neighbours in the painting more often (ours).
      turns: copies of each style to search: 1, 2 (turned by 180°, too) or 4 (by 90°); mirrored: and those in
        the mirror.
      pooled: a neighbour is the nearest in any of the styles, so that many paintings are searched like one.
    """

    weight: Any = 1.0
    layer_weights: tuple[Any, ...] = (1.0,) * len(LAYERS)
    blend: tuple[Any, ...] = ()
    gamma: Any = 1.0
    share: Any = 0.25
    palette: Any = 0.0
    layers: tuple[str, ...] = static(default=LAYERS)
    scaling: str = static(default="relative")
    patch: int = static(default=1)
    turns: int = static(default=1)
    mirrored: bool = static(default=False)
    pooled: bool = static(default=False)

    def __post_init__(self) -> None:
        one_of("neighbours scaling", self.scaling, SCALINGS)
        same_length("neighbours", self.layers, self.layer_weights)
        if self.turns not in TURNS:
            raise JaxstyleError(f"neighbours turns is {self.turns}; use 1, 2 or 4")
        if self.patch < 1 or self.patch % 2 == 0:
            raise JaxstyleError(f"neighbours patch is {self.patch}; use an odd number of hypercolumns a side")

    def target(self, references: References, look: Look) -> dict[str, Any]:
        """Unit vectors `[h, w, D]` that hypercolumns should point along, and the scale of each layer."""
        content, styles = references.content, references.styles
        if content is None or not styles:
            raise JaxstyleError("the neighbours term needs a content image and at least one style image")
        shares = blend_weights(self.blend, len(styles))
        scales = self._scales([look(style, self.layers) for style in styles])
        coloured = matched_colours(content, styles, shares)
        photo = content + self.palette * (coloured - content)
        searched = search_image(photo, photo if references.first is None else references.first, self.share)
        shape = quarter(content)
        columns = hypercolumns(look(searched, self.layers), scales, shape)
        semantic = None if references.content_map is None else pooled(references.content_map, *shape)
        parts: Sequence[Any] = shares
        total = jnp.zeros_like(columns)
        groups: list[tuple[int, ...]] = [(index,) for index in range(len(styles))]
        if references.regions:  # each style in its own; what is left points where the photo points
            parts = [pooled(mask[..., None], *shape) for mask in references.regions]
            total = (1 - sum(parts, start=jnp.zeros(()))) * unit(columns)
        elif self.pooled:
            groups, parts = [tuple(range(len(styles)))], [1.0]
        for indices, share in zip(groups, parts, strict=True):
            each = [self._candidates(references, index, scales, look) for index in indices]
            candidates, maps = ([one for some in side for one in some] for side in zip(*each))
            found = matched(columns, candidates, semantic, maps, self.gamma, self.patch)
            total = total + share * unit(found)
        return {"columns": total, "scales": scales}

    def _scales(self, styles: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
        found = {}
        for layer, weight in zip(self.layers, self.layer_weights):
            features = [style[layer] for style in styles]
            size = (jnp.sqrt(mean_energy(features)) if self.scaling == "relative"
                    else jnp.asarray(features[0].shape[-1], features[0].dtype))
            found[layer] = weight / size
        return found

    def _candidates(self, references: References, index: int, scales: Mapping[str, Any], look: Look
                    ) -> tuple[list[Array], list[Array | None]]:
        """Hypercolumns `[h, w, D]` of every copy of a style, and its maps alike (None: there are none)."""
        copies = copies_of(references.styles[index], self.turns, self.mirrored)
        candidates = [hypercolumns(look(copy, self.layers), scales, quarter(copy)) for copy in copies]
        if references.content_map is None:
            return candidates, [None] * len(copies)
        maps = copies_of(references.style_maps[index], self.turns, self.mirrored)
        return candidates, [pooled(semantic, *quarter(copy)) for semantic, copy in zip(maps, copies)]

    def loss(self, image: Array, features: Features, target: dict[str, Any]) -> Array:
        """`neighbour_loss`, without `weight`."""
        columns = hypercolumns(features, target["scales"], target["columns"].shape[:2])
        return neighbour_loss(columns, target["columns"])


def quarter(image: Array) -> tuple[int, int]:
    """Height and width of the hypercolumns of an image."""
    return max(1, image.shape[0] // REDUCTION), max(1, image.shape[1] // REDUCTION)


def splitting_loss(features: Array, style: Array) -> Array:
    """Mean cosine distance of `features` `[n, C]` to their nearest neighbours in `style` `[m, C]`, both less
    their own means (Kolkin et al. 2022, §3.5). The neighbours are found anew, without a gradient."""
    here, there = (unit(x - x.mean(axis=0, keepdims=True)) for x in (features, style))
    index, _ = ops.nearest(here, there)
    return jnp.mean(1 - jnp.sum(here * lax.stop_gradient(there[index]), axis=-1))


def grid_sample(features: Array, key: Array, count: int) -> Array:
    """Every k-th position of `[h, w, C]` both ways from a random offset, as `[n, C]`: k is the least step
    that leaves at most `count` a side. n does not depend on the offset."""
    sides, offsets = features.shape[:2], jax.random.split(key)
    steps = [-(-side // count) for side in sides]
    places = [jax.random.randint(offset, (), 0, step) + step * jnp.arange(side // step)
              for side, step, offset in zip(sides, steps, offsets)]
    return flat(features[places[0][:, None], places[1][None]])


@pytree
class Splitting:
    """Feature splitting: the features of each layer resemble their nearest neighbours in the styles, found
    anew at each evaluation among a random part of the positions.

    The random numbers are part of the search and come from the recipe's seed; a stochastic loss wants a
    solver without a line search, such as `Adam`.

    Attributes:
      weight: factor of the whole term; layer_weights: one factor per layer.
      blend: coefficients of the styles, scaled to sum to 1; empty means equal shares.
      layers: where features are compared; count: positions a side that one evaluation compares.
    """

    weight: Any = 1.0
    layer_weights: tuple[Any, ...] = (1 / len(LAYERS),) * len(LAYERS)
    blend: tuple[Any, ...] = ()
    layers: tuple[str, ...] = static(default=LAYERS)
    count: int = static(default=64)

    def __post_init__(self) -> None:
        same_length("splitting", self.layers, self.layer_weights)
        if self.count < 1:
            raise JaxstyleError(f"splitting count is {self.count}; compare at least 1 position a side")

    def target(self, references: References, look: Look) -> dict[str, Any]:
        """Features of the styles at each layer, their shares, and the first PRNG key."""
        found = styles_seen("splitting", references, look, self.layers)
        return {"styles": {layer: tuple(style[layer] for style in found) for layer in self.layers},
                "shares": tuple(map(jnp.asarray, blend_weights(self.blend, len(found)))),
                "key": jax.random.key_data(first_key(references))}

    def memory(self, target: dict[str, Any]) -> Array:
        """The first PRNG key, as numbers."""
        key: Array = target["key"]
        return key

    def loss(self, image: Array, features: Features, target: dict[str, Any], memory: Array
             ) -> tuple[Array, Array]:
        """Weighted sum over layers of `splitting_loss`, without `weight`, and the next key."""
        key, following = jax.random.split(jax.random.wrap_key_data(memory))
        total = jnp.zeros((), image.dtype)
        for layer, weight in zip(self.layers, self.layer_weights):
            for style, share in zip(target["styles"][layer], target["shares"]):
                key, here, there = jax.random.split(key, 3)
                total = total + weight * share * splitting_loss(
                    grid_sample(features[layer], here, self.count), grid_sample(style, there, self.count))
        return total, jax.random.key_data(following)
