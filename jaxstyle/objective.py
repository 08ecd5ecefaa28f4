"""The function that is minimised: a weighted sum of terms of an image and of its features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import jax.numpy as jnp
from jax import Array

from jaxstyle.references import References
from jaxstyle.weights import Weights


class Term(Protocol):
    """One summand: data plus two pure functions."""

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


def targets(weights: Weights, references: References, terms: Terms) -> dict[str, Any]:
    """The target of every term, from the features of the reference images."""
    layers = layers_of(terms)
    features = References(
        content=None if references.content is None else weights.features(references.content, layers),
        styles=tuple(weights.features(style, layers) for style in references.styles),
    )
    return {name: term.target(references, features) for name, term in terms.items()}


def objective(
    weights: Weights, terms: Terms, targets: Mapping[str, Any], image: Array
) -> tuple[Array, dict[str, Array]]:
    """Total loss of an image `[H, W, 3]`, and each term's weighted share of it by name."""
    features = weights.features(image, layers_of(terms))
    parts = {
        name: jnp.asarray(term.weight, image.dtype) * term.loss(image, features, targets[name])
        for name, term in terms.items()
    }
    return sum(parts.values(), start=jnp.zeros((), image.dtype)), parts
