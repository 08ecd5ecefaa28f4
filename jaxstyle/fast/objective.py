"""The objective of a training: the terms of `stylize`, with the network's output as the image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from jaxstyle.weights import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.objective import Terms, layers_of
from jaxstyle.references import References


def style_targets(weights: Weights, terms: Terms, painting: Array) -> dict[str, Any]:
    """Targets of one painting `[H, W, 3]`, of those terms that need no photo; they are made once.

    Raises:
      JaxstyleError: no term looks at the painting.
    """
    features = References(styles=(weights.features(painting, layers_of(terms)),))
    found: dict[str, Any] = {}
    for name, term in terms.items():
        try:
            found[name] = term.target(References(styles=(painting,)), features)
        except JaxstyleError:  # needs a content image: made anew for every photo
            continue
    return found


def objective(
    weights: Weights, terms: Terms, styles: Mapping[str, Any], photo: Array, image: Array,
    style_weight: Any = 1.0,
) -> tuple[Array, dict[str, Array]]:
    """Total loss of a network's `image` `[H, W, 3]` of a `photo`, and each term's weighted share.

    Args:
      styles: what `style_targets` made of the painting; style_weight: factor of those terms that have a
        target in it.
    """
    content_layers = layers_of({name: term for name, term in terms.items() if name not in styles})
    references = References(content=photo)
    features = References(content=lax.stop_gradient(weights.features(photo, content_layers))
                          if content_layers else {})
    found = weights.features(image, layers_of(terms)) if layers_of(terms) else {}
    parts: dict[str, Array] = {}
    for name, term in terms.items():
        target = styles[name] if name in styles else term.target(references, features)
        share = jnp.asarray(term.weight, image.dtype) * term.loss(image, found, target)
        parts[name] = share * style_weight if name in styles and term.layers else share
    return sum(parts.values(), start=jnp.zeros((), image.dtype)), parts
