"""How often a picture uses the same patch of its paintings: what shows where there are too few of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxstyle import ops
from jaxstyle.backbones.perceptual import Weights
from jaxstyle.losses import Patches
from jaxstyle.references import References
from jaxstyle.transfer.inputs import sized
from jaxstyle.transfer.recipe import Recipe


def patch_repetition(features: Array, styles: Sequence[Array], size: int = 3) -> Array:
    """1 − (different style patches used) / (patches of the image), a scalar from 0 to 1 (ours).

    Every patch of the image `[h, w, C]` uses the one of all styles `[hs, ws, C]` of the greatest normalised
    correlation (Li & Wand 2016, equation 3). 0: no style patch is used twice; 0.5: each is used twice, on the
    mean; near 1: the same few everywhere. Styles with fewer patches than the image cannot reach 0.

    Raises:
      JaxstyleError: an image or style smaller than a patch.
    """
    found = [ops.nearest_patches(features, style, size) for style in styles]
    best = jnp.argmax(jnp.stack([score for _, score in found]), axis=0)
    used = jnp.zeros((), jnp.int32)
    for number, (style, (index, _)) in enumerate(zip(styles, found)):
        patches = (style.shape[0] - size + 1) * (style.shape[1] - size + 1)
        mine = jnp.where(best == number, index, patches)  # an index outside counts nowhere
        used = used + jnp.sum(jnp.zeros(patches, bool).at[mine.ravel()].set(True, mode="drop"))
    return (best.size - used) / best.size


@partial(jax.jit, static_argnames=("layers", "size"))
def _over_layers(weights: Weights, image: Array, styles: tuple[Array, ...], layers: tuple[str, ...], size: int
                 ) -> Array:
    of = weights.features(image, layers)
    theirs = [weights.features(style, layers) for style in styles]
    return jnp.mean(jnp.stack([patch_repetition(of[layer], [style[layer] for style in theirs], size)
                               for layer in layers]))


def measured_repetition(weights: Weights, references: References, recipe: Recipe, image: Any, stage: int = -1
                        ) -> float | None:
    """`patch_repetition` of an image of the size of a stage, mean over the layers at which the recipe's first
    patch term matches; None if it has none, or `weights` lack these layers."""
    terms = [term for term in recipe.terms.values() if isinstance(term, Patches)]
    if not terms or not references.styles or not set(terms[0].layers) <= set(weights.network.layers):
        return None
    fitted = sized(references, recipe.stages[stage], recipe.style_scale)
    return float(_over_layers(weights, jnp.asarray(image), fitted.styles, terms[0].layers, terms[0].size))
