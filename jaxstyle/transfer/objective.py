"""The function that is minimised: a weighted sum of terms of an image and of its features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array

from jaxstyle.backbones.bands import banded_features
from jaxstyle.backbones.perceptual import Weights
from jaxstyle.losses.look import Features, Look
from jaxstyle.references import References


class Summand(Protocol):
    """What all terms have: data plus a pure function for what it compares with.

    A term may name in `grams` those of its layers of which Gram matrices are enough; their features may then
    come as `ops.grams.Correlations`.
    """

    @property
    def weight(self) -> Any:
        """Factor of the whole term."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers that its loss looks at."""

    def target(self, references: References, look: Look) -> Any:
        """What the loss compares with; computed once per stage."""


class PlainTerm(Summand, Protocol):
    """A term whose loss depends on nothing but what it is given."""

    def loss(self, image: Array, features: Features, target: Any) -> Array:
        """Scalar without the weight."""


@runtime_checkable
class RememberingTerm(Summand, Protocol):
    """A term with something that lives from one evaluation to the next: random numbers, a history."""

    def memory(self, target: Any) -> Any:
        """What the first evaluation gets: a pytree of arrays, none of them a typed PRNG key."""

    def loss(self, image: Array, features: Features, target: Any, memory: Any) -> tuple[Array, Any]:
        """Scalar without the weight, and what the next evaluation gets."""


@runtime_checkable
class ViewingTerm(RememberingTerm, Protocol):
    """A remembering term that looks at the image in a way of its own, of which it alone gets the features."""

    def view(self, image: Array, memory: Any) -> Array:
        """The image as it looks at it (rolled, cropped …)."""


Term = PlainTerm | RememberingTerm
"""One summand of the objective."""
Terms = Mapping[str, Term]
"""The objective: its names are those of logs, manifests and paths."""
Parts = dict[str, Array]


def layers_of(terms: Terms) -> tuple[str, ...]:
    """Every layer that some term looks at, sorted, each once."""
    return tuple(sorted({layer for term in terms.values() for layer in term.layers}))


def grams_of(terms: Terms) -> tuple[str, ...]:
    """The layers at which Gram matrices are enough for every term."""
    whole = {layer for term in terms.values() for layer in set(term.layers) - set(getattr(term, "grams", ()))}
    return tuple(layer for layer in layers_of(terms) if layer not in whole)


def looking_through(weights: Weights, references: References, terms: Terms, rows: int | None = None) -> Look:
    """How terms see images through a network; images of `references` are looked at for all terms at once."""
    given = {id(image) for image in jax.tree.leaves(references)}
    seen: dict[tuple[int, tuple[str, ...]], tuple[Array, dict[str, Any]]] = {}
    grams = grams_of(terms)

    def look(image: Array, layers: tuple[str, ...]) -> dict[str, Any]:
        wanted = tuple(sorted({*layers_of(terms), *layers})) if id(image) in given else tuple(layers)
        key = id(image), wanted
        if key not in seen:  # the image is kept, too: its id is its own as long as it lives
            seen[key] = image, banded_features(weights, image, wanted, rows, grams)
        return seen[key][1]

    return look


def targets(weights: Weights, references: References, terms: Terms, rows: int | None = None
            ) -> dict[str, Any]:
    """The target of every term, from the reference images (and maps, first image, seed) of a stage."""
    look = looking_through(weights, references, terms, rows)
    return {name: term.target(references, look) for name, term in terms.items()}


def first_memory(terms: Terms, targets: Mapping[str, Any]) -> dict[str, Any]:
    """What the first evaluation gets: name -> memory of each `RememberingTerm`."""
    return {name: term.memory(targets[name]) for name, term in terms.items()
            if isinstance(term, RememberingTerm)}


def objective(
    weights: Weights, terms: Terms, targets: Mapping[str, Any], image: Array,
    memory: Mapping[str, Any] | None = None, *, rows: int | None = None,
) -> tuple[Array, tuple[Parts, dict[str, Any]]]:
    """Total loss of an image `[H, W, 3]`, each term's weighted share of it by name, and what terms remember.

    Args:
      memory: what the evaluation before left; None: `first_memory`.
      rows: of the image, computed at a time (None: all), which changes the memory used alone.
    """
    before = first_memory(terms, targets) if memory is None else memory
    plain = {name: term for name, term in terms.items() if not isinstance(term, ViewingTerm)}
    features = banded_features(weights, image, layers_of(plain), rows, grams_of(plain))
    parts: Parts = {}
    after: dict[str, Any] = {}
    for name, term in terms.items():
        if isinstance(term, ViewingTerm):
            view = term.view(image, before[name])
            own = banded_features(weights, view, tuple(term.layers), rows)
            loss, after[name] = term.loss(view, own, targets[name], before[name])
        elif isinstance(term, RememberingTerm):
            loss, after[name] = term.loss(image, features, targets[name], before[name])
        else:
            loss = term.loss(image, features, targets[name])
        parts[name] = jnp.asarray(term.weight, image.dtype) * loss
    return sum(parts.values(), start=jnp.zeros((), image.dtype)), (parts, after)
