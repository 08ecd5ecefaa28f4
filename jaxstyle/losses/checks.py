"""Checks that every term makes of its static fields."""

from __future__ import annotations

from collections.abc import Sequence

from jaxstyle.errors import JaxstyleError


def one_of(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise unless `value` is among `choices`."""
    if value not in choices:
        raise JaxstyleError(f"{name} '{value}' is not one of {', '.join(choices)}")


def same_length(name: str, layers: Sequence[str], layer_weights: Sequence[object]) -> None:
    """Raise unless there is one weight per layer."""
    if len(layers) != len(layer_weights):
        raise JaxstyleError(
            f"{name}: {len(layers)} layers ({', '.join(layers)}) but {len(layer_weights)} layer_weights"
        )
