"""Settings of a recipe given as text: `terms.style.weight` = `1e4` sets that field."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from jaxstyle.errors import JaxstyleError
from jaxstyle.pytrees import get, replace
from jaxstyle.solvers import SOLVERS, Solver
from jaxstyle.transfer.controls import named_colors, named_smoothing

T = TypeVar("T")


def override(recipe: T, settings: dict[str, str]) -> T:
    """The recipe with settings given as text; `solver` takes a solver's name, lists are comma-separated.

    Raises:
      JaxstyleError: an unknown path, or a value of the wrong kind.
    """
    wholes = {path for path in settings if any(other.startswith(f"{path}.") for other in settings)}
    for chosen in (wholes, settings.keys() - wholes):
        values = {path: value_from(settings[path], path, recipe) for path in settings if path in chosen}
        recipe = replace(recipe, values)
    return recipe


def value_from(text: str, path: str, recipe: Any) -> Any:
    """The value that a text stands for at a path of a recipe."""
    by_name = {"solver": solver_named, "colors": named_colors, "smoothing": named_smoothing}
    if text.lower() == "none" and get(recipe, path) is None:
        return None
    return by_name[path](text) if path in by_name else parse(text, get(recipe, path))


def solver_named(name: str) -> Solver:
    """A solver with its default settings, by class name (upper and lower case alike)."""
    for solver in SOLVERS:
        if solver.__name__.lower() == name.replace("-", "").lower():
            return solver()
    raise JaxstyleError(f"unknown solver '{name}'; there are {', '.join(s.__name__ for s in SOLVERS)}")


def parse(text: str, old: Any) -> Any:
    """The value that a text stands for where `old` stood."""
    if isinstance(old, tuple) or (old is None and "," in text):
        return tuple(scalar(item) for item in text.strip("()[]").split(",") if item.strip())
    return text if isinstance(old, str) else scalar(text)


def scalar(text: str) -> Any:
    """A number, true, false, none, or the text itself."""
    if text.strip().lower() == "none":
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()
