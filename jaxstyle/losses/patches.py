"""Style as small pieces: every patch of the result resembles its best match in the style.

Li & Wand 2016 (CNNMRF, arXiv:1601.04589, equations 2 and 3); steered by semantic maps: Champandard 2016
(neural doodle, arXiv:1603.01768). Matching is piecewise constant, so no gradient flows through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from jaxstyle import ops
from jaxstyle.errors import JaxstyleError
from jaxstyle.losses.checks import one_of, same_length
from jaxstyle.losses.look import Look
from jaxstyle.ops.resize import resize_to
from jaxstyle.pytrees import pytree, static
from jaxstyle.references import References

MATCHINGS = ("paper", "relative", "neural-doodle")
NORMALIZATIONS = ("paper", "mean", "relative")


def pooled(semantic: Array, height: int, width: int) -> Array:
    """A semantic map `[H, W, M]` at the `[height, width, M]` of a layer: average pooling, as a network pools.

    Where halving does not lead there exactly, the rest is linear interpolation.
    """
    while semantic.shape[0] >= 2 * height and semantic.shape[1] >= 2 * width:
        semantic = ops.average_pool(semantic)
    return resize_to(semantic, height, width, "linear", clip=False)


def unit(x: Array) -> Array:
    """Every vector along the last axis divided by its length; zero vectors stay zero."""
    length = jnp.sqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True))
    return x / jnp.maximum(length, jnp.sqrt(jnp.finfo(x.dtype).tiny))


def mean_energy(arrays: Sequence[Array]) -> Array:
    """Mean squared length of the vectors along the last axis, over all arrays; at least the least float."""
    total = sum((jnp.sum(jnp.square(x)) for x in arrays), start=jnp.zeros(()))
    count = sum(x.shape[0] * x.shape[1] for x in arrays)
    return jnp.maximum(total / count, jnp.finfo(arrays[0].dtype).tiny)


def matching_key(features: Array, semantic: Array | None, gamma: Any, matching: str,
                 energies: tuple[Array, Array]) -> Array:
    """What is matched at each position: features `[h, w, C]` beside the map `[h, w, M]`, as `[h, w, C + M]`.

    "paper": x ‖ γ m, on raw magnitudes (Champandard 2016).
    "relative": the same with x and m divided by the root of their `energies` (mean squared lengths in the
    style), so that γ = 1 gives features and map equal shares in any network (ours).
    "neural-doodle": both made unit vectors at every position, so that scores are mean cosines, the map's
    counting γ times (the program of the paper, where γ is its semantic weight).
    """
    if matching == "neural-doodle":
        parts = [unit(features)] if semantic is None else [unit(features), jnp.sqrt(gamma) * unit(semantic)]
        return jnp.concatenate(parts, axis=-1)
    scales = jnp.sqrt(jnp.stack(energies)) if matching == "relative" else jnp.ones(2, features.dtype)
    parts = [features / scales[0]] if semantic is None else [features / scales[0],
                                                             gamma * semantic / scales[1]]
    return jnp.concatenate(parts, axis=-1)


def compare(features: Array, style: Array, index: Array, chosen: Array, size: int) -> tuple[Array, Array]:
    """Patches of a style laid over each other where they belong, and how far the features are from them.

    Args:
      features: `[h, w, C]`; style: `[hs, ws, C]`.
      index: flat patch index `[h − size + 1, w − size + 1]` as `ops.nearest_patches` gives it.
      chosen: of equal shape, whether the patch is to be laid.

    Returns:
      Sum over the patches that cover a position of what they have there, `[h, w, C]`; and the sum over
      patches of their squared distance from the features.
    """
    height, width, channels = features.shape
    row, column = jnp.divmod(index, style.shape[1] - size + 1)
    corners = jnp.where(chosen, row * style.shape[1] + column, -1)
    corners = jnp.pad(corners, size - 1, constant_values=-1)
    pixels = style.reshape(-1, channels)
    total, squares = jnp.zeros_like(features), jnp.zeros((), features.dtype)
    for i in range(size):
        for j in range(size):
            # The patch that covers a position with its element (i, j) begins i rows and j columns before.
            corner = corners[size - 1 - i :, size - 1 - j :][:height, :width]
            laid = (corner >= 0)[:, :, None]
            piece = jnp.where(laid, pixels[jnp.maximum(corner, 0) + i * style.shape[1] + j], 0)
            total = total + piece
            squares = squares + jnp.sum(jnp.square(jnp.where(laid, features - piece, 0)))
    return total, squares


def coverage(height: int, width: int, size: int) -> Array:
    """How many size×size patches cover each position, `[height, width]`."""
    def along(n: int) -> Array:
        at = jnp.arange(n)
        return jnp.minimum(jnp.minimum(at + 1, n - at), min(size, n - size + 1))

    return along(height)[:, None] * along(width)[None]


def patch_loss(features: Array, key: Array, styles: Sequence[tuple[Array, Array]], size: int = 3,
               unit_scores: bool = False) -> Array:
    """Σ_i ‖Ψ_i(F) − Ψ_NN(i)(S)‖² over all size×size patches of features `[h, w, C]` (Li & Wand 2016, eq. 2).

    NN(i) is the patch of any style with the greatest ⟨Ψ_i(K), Ψ_j(K_s)⟩ / ‖Ψ_j(K_s)‖ (eq. 3) of the keys
    `[h, w, D]` (see `matching_key`).

    With n patches over a position and T the sum of what they have there, it is quadratic in F with gradient
    2(nF − T) and Hessian 2n, so it is written as its own Taylor expansion: patches are never laid out.

    Args:
      key: of the features, styles: (features, key) of each style.
      unit_scores: do not divide by the norm of the style's patch.
    """
    found = [ops.nearest_patches(key, style_key, size, normalised=not unit_scores)
             for _, style_key in styles]
    best = jnp.argmax(jnp.stack([score for _, score in found]), axis=0)
    here = lax.stop_gradient(features)
    compared = [compare(here, style, index, best == k, size)
                for k, ((style, _), (index, _)) in enumerate(zip(styles, found))]
    total, squares = lax.stop_gradient((sum(t for t, _ in compared), sum(s for _, s in compared)))
    count = coverage(features.shape[0], features.shape[1], size)[:, :, None].astype(features.dtype)
    step = features - here
    return squares + jnp.sum((2 * (count * here - total) + count * step) * step)


@pytree
class Patches:
    """Rebuilds the image from patches of the style's features.

    With maps in the references, patches are matched by what the maps say, too; without, by features alone.

    Attributes:
      weight: factor of the whole term; layer_weights: one factor per layer.
      gamma: weight of the maps in matching; see `matching_key` for its scale.
      layers: where patches are compared; size: side of a patch.
      matching: what is matched, see `matching_key`.
      normalization: "paper": the sum of `patch_loss`; "mean": divided by the number of its squares;
        "relative": divided by what the same sum would be against zero, the mean ‖Ψ_j(S)‖² per patch (ours).
    """

    weight: Any = 1.0
    layer_weights: tuple[Any, ...] = (1.0, 1.0)
    gamma: Any = 1.0
    layers: tuple[str, ...] = static(default=("relu3_1", "relu4_1"))
    size: int = static(default=3)
    matching: str = static(default="relative")
    normalization: str = static(default="relative")

    def __post_init__(self) -> None:
        one_of("patch matching", self.matching, MATCHINGS)
        one_of("patch normalization", self.normalization, NORMALIZATIONS)
        same_length("patches", self.layers, self.layer_weights)
        if self.size < 1:
            raise JaxstyleError(f"a patch has a size of at least 1, not {self.size}")

    def target(self, references: References, look: Look) -> dict[str, Any]:
        """For each layer the styles' features with their keys, the content's map, and scales."""
        if not references.styles:
            raise JaxstyleError("the patch term needs at least one style image")
        styles = [look(style, self.layers) for style in references.styles]
        return {layer: self._layer_target(references, [style[layer] for style in styles])
                for layer in self.layers}

    def _layer_target(self, references: References, styles: list[Array]) -> dict[str, Any]:
        for style in styles:
            if min(style.shape[:2]) < self.size:
                raise JaxstyleError(f"a style image is too small for patches of {self.size}×{self.size} "
                                    "features; use a larger --size")
        maps: list[Any] = [None] * len(styles)
        if references.content_map is not None:
            maps = [pooled(m, *style.shape[:2]) for m, style in zip(references.style_maps, styles)]
        energies = (mean_energy(styles), mean_energy(styles if maps[0] is None else maps))
        keys = [matching_key(style, m, self.gamma, self.matching, energies)
                for style, m in zip(styles, maps)]
        squares = sum((jnp.sum(coverage(s.shape[0], s.shape[1], self.size) * jnp.sum(jnp.square(s), axis=-1))
                       for s in styles), start=jnp.zeros(()))
        patches = sum((s.shape[0] - self.size + 1) * (s.shape[1] - self.size + 1) for s in styles)
        return {"styles": tuple(zip(styles, keys)), "map": references.content_map, "energies": energies,
                "patch energy": squares / patches}

    def loss(self, image: Array, features: dict[str, Array], target: dict[str, Any]) -> Array:
        """Weighted sum over layers of the normalised `patch_loss`, without `weight`."""
        return sum((weight * self._layer_loss(features[layer], target[layer])
                    for layer, weight in zip(self.layers, self.layer_weights)),
                   start=jnp.zeros((), image.dtype))

    def _layer_loss(self, features: Array, target: dict[str, Any]) -> Array:
        height, width, channels = features.shape
        if min(height, width) < self.size:
            raise JaxstyleError(f"the image is too small for patches of {self.size}×{self.size} features; "
                                "use a larger --size")
        semantic = None if target["map"] is None else pooled(target["map"], height, width)
        key = matching_key(lax.stop_gradient(features), semantic, self.gamma, self.matching,
                           target["energies"])
        total = patch_loss(features, key, target["styles"], self.size,
                           unit_scores=self.matching == "neural-doodle")
        patches = (height - self.size + 1) * (width - self.size + 1)
        match self.normalization:
            case "paper":
                return total
            case "mean":
                return total / (patches * self.size**2 * channels)
            case _:
                return total / (patches * jnp.maximum(target["patch energy"], jnp.finfo(total.dtype).tiny))
