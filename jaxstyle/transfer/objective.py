"""The function that is minimised: a weighted sum of terms of an image and of its features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import jax.numpy as jnp
from jax import Array

from jaxstyle.backbones.bands import banded_features
from jaxstyle.backbones.perceptual import Weights
from jaxstyle.references import References


class Term(Protocol):
    """One summand: data plus two pure functions.

    A term may name in `grams` those of its layers of which Gram matrices are enough; their features may then
    come as `losses.gram.Correlations`.
    """

    weight: Any
    layers: tuple[str, ...]

    def target(self, references: References, features: References) -> Any:
        """What the loss compares with; computed once per stage."""

    def loss(self, image: Array, features: dict[str, Array], target: Any) -> Array:
        """Scalar without the weight."""


Terms = Mapping[str, Any]


def layers_of(terms: Terms) -> tuple[str, ...]:
    """Every layer that some term looks at, sorted, each once."""
    return tuple(sorted({layer for term in terms.values() for layer in term.layers}))


def grams_of(terms: Terms) -> tuple[str, ...]:
    """The layers at which Gram matrices are enough for every term."""
    whole = {layer for term in terms.values() for layer in set(term.layers) - set(getattr(term, "grams", ()))}
    return tuple(layer for layer in layers_of(terms) if layer not in whole)


def features_for(weights: Weights, terms: Terms, image: Array, rows: int | None) -> dict[str, Any]:
    """What the terms look at of an image `[H, W, 3]`, computed `rows` rows at a time (None: all)."""
    return banded_features(weights, image, layers_of(terms), rows, grams_of(terms))


def targets(weights: Weights, references: References, terms: Terms, rows: int | None = None
            ) -> dict[str, Any]:
    """The target of every term, from the features of the reference images."""
    def features_of(image: Array) -> dict[str, Any]:
        return features_for(weights, terms, image, rows)

    features = References(
        content=None if references.content is None else features_of(references.content),
        styles=tuple(map(features_of, references.styles)),
    )
    return {name: term.target(references, features) for name, term in terms.items()}


def objective(
    weights: Weights, terms: Terms, targets: Mapping[str, Any], image: Array, *, rows: int | None = None,
) -> tuple[Array, dict[str, Array]]:
    """Total loss of an image `[H, W, 3]`, and each term's weighted share of it by name.

    `rows` of the image are computed at a time (None: all), which changes the memory used alone.
    """
    features = features_for(weights, terms, image, rows)
    parts = {
        name: jnp.asarray(term.weight, image.dtype) * term.loss(image, features, targets[name])
        for name, term in terms.items()
    }
    return sum(parts.values(), start=jnp.zeros((), image.dtype)), parts
