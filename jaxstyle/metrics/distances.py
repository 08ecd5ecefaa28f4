"""One measure for results of different recipes: how far from the photo, how far from the painting."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxstyle.backbones.bands import banded_features
from jaxstyle.backbones.perceptual import Weights
from jaxstyle.backbones.vgg import CONTENT_LAYER, STYLE_LAYERS
from jaxstyle.errors import JaxstyleError
from jaxstyle.losses import gram_matrix
from jaxstyle.references import References
from jaxstyle.transfer.inputs import sized
from jaxstyle.transfer.recipe import Recipe
from jaxstyle.weights.store import load_weights

CONTENT_LAYERS = (CONTENT_LAYER,)


def layers_to_measure(weights: Weights, recipe: Recipe) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Content and style layers to compare at: the paper's where the network has them, else the recipe's."""
    known = set(weights.network.layers)
    if known.issuperset(CONTENT_LAYERS + STYLE_LAYERS):
        return CONTENT_LAYERS, STYLE_LAYERS
    layers = {type(term).__name__: term.layers for term in recipe.terms.values() if term.layers}
    some = tuple(sorted({layer for chosen in layers.values() for layer in chosen}))
    return layers.get("Content", some), layers.get("Gram", some)


def judge_called(name: str) -> Weights:
    """A network that can measure the results of any other: it has the paper's layers.

    Raises:
      JaxstyleError: there is none of this name, or it lacks them.
    """
    weights = load_weights(name)
    missing = [layer for layer in CONTENT_LAYERS + STYLE_LAYERS if layer not in weights.network.layers]
    if missing:
        raise JaxstyleError(f"'{name}' cannot judge other networks: it has no layer {missing[0]}; "
                            "use a VGG, e.g. vgg19-slim")
    return weights


def relative_distance(a: Array, b: Array) -> Array:
    """‖a − b‖² / ‖b‖²: 0 for equal arrays, about 1 for unrelated small ones."""
    tiny = jnp.finfo(b.dtype).tiny
    return jnp.sum(jnp.square(a - b)) / jnp.maximum(jnp.sum(jnp.square(b)), tiny)


@partial(jax.jit, static_argnames=("content_layers", "style_layers", "rows"))
def distances(weights: Weights, references: References, image: Array, content_layers: tuple[str, ...],
              style_layers: tuple[str, ...], rows: int | None = None) -> dict[str, Array]:
    """Distances of an image `[H, W, 3]` from its (already fitted) references, without units.

    "content": mean over layers of ‖F − P‖² / ‖P‖²; "style": the same of Gram matrices per position, averaged
    over the styles. A reference that is not there has no entry. `rows` are computed at a time (None: all).
    """
    layers = tuple(sorted({*content_layers, *style_layers}))
    grams = tuple(set(style_layers) - set(content_layers))
    of = banded_features(weights, image, layers, rows, grams)
    found = {}
    if references.content is not None and content_layers:
        target = banded_features(weights, references.content, layers, rows, grams)
        found["content"] = mean([relative_distance(of[n], target[n]) for n in content_layers])
    if references.styles and style_layers:
        styles = [banded_features(weights, style, style_layers, rows, grams) for style in references.styles]
        found["style"] = mean([relative_distance(gram_matrix(of[n]), gram_matrix(style[n]))
                               for style in styles for n in style_layers])
    return found


def mean(values: Sequence[Array]) -> Array:
    """Of some scalars."""
    return sum(values, start=jnp.zeros(())) / len(values)


def measured(weights: Weights, references: References, recipe: Recipe, image: Any, stage: int = -1
             ) -> dict[str, float]:
    """`distances` of an image of the size of a stage (the last if not given), as numbers."""
    fitted = sized(references, recipe.stages[stage], recipe.style_scale)
    content_layers, style_layers = layers_to_measure(weights, recipe)
    values = distances(weights, fitted, jnp.asarray(image), content_layers, style_layers, recipe.rows)
    return {name: float(value) for name, value in values.items()}
