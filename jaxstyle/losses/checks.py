"""What terms share: checks of their fields, and shares of several styles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxstyle.errors import JaxstyleError


def same_length(name: str, layers: Sequence[str], layer_weights: Sequence[object]) -> None:
    """Raise unless there is one weight per layer."""
    if len(layers) != len(layer_weights):
        raise JaxstyleError(
            f"{name}: {len(layers)} layers ({', '.join(layers)}) but {len(layer_weights)} layer_weights"
        )


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
