"""The objective of a training: the terms of `stylize`, with the network's output as the image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.references import References
from jaxstyle.transfer.objective import RememberingTerm, Terms, layers_of, looking_through, objective


def check_terms(terms: Terms) -> None:
    """Raise unless a network can be trained with these terms.

    Raises:
      JaxstyleError: a term that remembers earlier evaluations of one image.
    """
    for name, term in terms.items():
        if isinstance(term, RememberingTerm):
            raise JaxstyleError(f"term '{name}' remembers earlier steps of one image, but training sees "
                                "another photo each time; leave it out")


def style_targets(weights: Weights, terms: Terms, painting: Array) -> dict[str, Any]:
    """Targets of one painting `[H, W, 3]`, of those terms that need no photo; they are made once."""
    references = References(styles=(painting,), seed=0)
    look = looking_through(weights, references, terms)
    found: dict[str, Any] = {}
    for name, term in terms.items():
        try:
            found[name] = term.target(references, look)
        except JaxstyleError:  # needs a content image: made anew for every photo
            continue
    return found


def photo_targets(weights: Weights, terms: Terms, photo: Array) -> dict[str, Any]:
    """Targets of the other terms for one photo `[H, W, 3]`; no gradient flows back through them."""
    references = References(content=photo, seed=0)
    look = looking_through(weights, references, terms)
    return {name: lax.stop_gradient(term.target(references, look)) for name, term in terms.items()}


def photo_objective(
    weights: Weights, terms: Terms, styles: Mapping[str, Any], photo: Array, image: Array,
    style_weight: Any = 1.0,
) -> tuple[Array, dict[str, Array]]:
    """Total loss of a network's `image` `[H, W, 3]` of a `photo`, and each term's weighted share.

    Args:
      styles: what `style_targets` made of the painting.
      style_weight: factor of its terms that look at layers.
    """
    others = {name: term for name, term in terms.items() if name not in styles}
    targets = {**styles, **photo_targets(weights, others, photo)}
    _, (parts, _) = objective(weights, terms, targets, image)
    for name in styles:
        if layers_of({name: terms[name]}):
            parts[name] = parts[name] * style_weight
    return sum(parts.values(), start=jnp.zeros((), image.dtype)), parts
