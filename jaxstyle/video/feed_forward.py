"""A trained fast network as a function of frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
from jax import Array

from jaxstyle import ops
from jaxstyle.errors import JaxstyleError
from jaxstyle.fast.model import Model, read_model, shares
from jaxstyle.fast.network import stylized


def frame_function(path: Path, blend: Mapping[str, float]) -> Callable[[Array], Array]:
    """A model from its file or folder as a function of images `[H, W, 3]` in [0, 1], compiled once per size.

    Args:
      blend: share of each style by name; none: the first.

    Raises:
      JaxstyleError: it is missing or damaged, or has no such style.
    """
    model = read_model(path)
    return function_of(model, shares(model, blend))


def function_of(model: Model, style: Array) -> Callable[[Array], Array]:
    """A model with the shares of its styles as a function of images; its filters are prepared once."""
    prepared = ops.prepare(model.params)

    @jax.jit
    def run(params: Any, statistics: Any, style: Array, image: Array) -> Array:
        return stylized(model.network, params, image, style, statistics)

    return lambda image: run(prepared, model.statistics, style, image)


def parse_blend(text: str) -> dict[str, float]:
    """Shares of styles from a text such as "starry=2,wave=1", or the name of one style.

    Raises:
      JaxstyleError: a share is no number.
    """
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, share = part.partition("=")
        try:
            found[name] = float(share) if equals else 1.0
        except ValueError:
            raise JaxstyleError(f"'{share}' is no share of style '{name}'; write e.g. starry=2,"
                                "wave=1") from None
    return found
