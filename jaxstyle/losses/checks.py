"""What terms share: checks of their fields, looking at styles and their shares, the first random key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
from jax import Array

from jaxstyle.errors import JaxstyleError
from jaxstyle.losses.look import Features, Look
from jaxstyle.references import References


def same_length(name: str, layers: Sequence[str], layer_weights: Sequence[object]) -> None:
    """Raise unless there is one weight per layer."""
    if len(layers) != len(layer_weights):
        raise JaxstyleError(
            f"{name}: {len(layers)} layers ({', '.join(layers)}) but {len(layer_weights)} layer_weights"
        )


def first_key(references: References) -> Array:
    """The PRNG key of a recipe's seed, of which terms that draw at random make theirs."""
    return jax.random.key(0 if references.seed is None else references.seed)


def styles_seen(name: str, references: References, look: Look, layers: tuple[str, ...]) -> list[Features]:
    """Features of every style image at some layers.

    Raises:
      JaxstyleError: there is no style image; it names the term.
    """
    if not references.styles:
        raise JaxstyleError(f"the {name} term needs at least one style image")
    return [look(style, layers) for style in references.styles]


def blend_weights(blend: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    """Coefficients of `count` styles, scaled to sum to 1; none given means equal shares.

    Raises:
      JaxstyleError: their number is not that of the styles.
    """
    if not blend:
        return (1 / count,) * count
    if len(blend) != count:
        raise JaxstyleError(f"blend has {len(blend)} coefficients for {count} style images")
    total = sum(blend)
    return tuple(coefficient / total for coefficient in blend)
