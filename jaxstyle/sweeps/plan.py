"""What a sweep runs: axes of settings, and the lanes at their crossings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from jaxstyle.errors import JaxstyleError
from jaxstyle.pytrees import get, paths, replace
from jaxstyle.runs.manifest import Files
from jaxstyle.solvers import ArmijoLbfgs, Lbfgs, OptaxLbfgs
from jaxstyle.transfer import presets
from jaxstyle.transfer.recipe import Recipe
from jaxstyle.transfer.settings import override, value_from

MAX_LANES = 100_000
RECIPE, STRENGTH = "recipe", "strength"
SPECIAL = (RECIPE, STRENGTH)
"""Axes that are no settings of a recipe: another recipe, and a strength from `jaxstyle.metrics.strength`."""


@dataclass(frozen=True)
class Point:
    """One place on an axis: how it is printed, and what it changes (path -> text)."""

    label: str
    changes: Mapping[str, str]


@dataclass(frozen=True)
class Axis:
    """Something that is varied."""

    name: str
    points: tuple[Point, ...]


class Labelled(Protocol):
    """What a lane of any kind has: where it is on the axes, and a recipe."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Name of each axis -> where on it this lane is, as printed."""
        ...

    @property
    def recipe(self) -> Any:
        """A pytree of settings."""
        ...


@dataclass(frozen=True)
class Lane:
    """One run of a sweep.

    Attributes:
      labels: name of each axis -> where on it this lane is, as printed.
      recipe, files: what is run; weights: name or file of the network.
    """

    labels: Mapping[str, str]
    recipe: Recipe
    files: Files
    weights: str


@dataclass(frozen=True)
class Preparation:
    """How the recipe of a lane is made of what its place on the axes changes.

    Attributes:
      settings: overrides (path -> text) that apply to recipes chosen by an axis `recipe` too.
      sized: gives such a recipe its size and steps.
      strengthen: sets a strength, for an axis `strength` or for `strength` given for all lanes.
      translate: brings the weights of each recipe to the scale of the network (see
        `transfer.presets.translation`).
      keep_solver: do not replace L-BFGS solvers (see `for_sweeps`).
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    sized: Callable[[Recipe], Recipe] | None = None
    strengthen: Callable[[Recipe, Files, float], Recipe] | None = None
    strength: float | None = None
    translate: Callable[[Recipe], Recipe] | None = None
    keep_solver: bool = False

    def of(self, base: Recipe, changes: Mapping[str, str], files: Files) -> Recipe:
        """The recipe of the lane with these files where `changes` (path -> text) are made to `base`."""
        changes, recipe = dict(changes), base
        if RECIPE in changes:
            recipe = presets.named(changes.pop(RECIPE))
            recipe = override(self.sized(recipe) if self.sized else recipe, dict(self.settings))
        strength = number(changes.pop(STRENGTH)) if STRENGTH in changes else self.strength
        recipe = override(recipe, changes)
        recipe = recipe if self.translate is None else self.translate(recipe)
        if strength is not None and self.strengthen is not None:
            recipe = self.strengthen(recipe, files, strength)
        return recipe if self.keep_solver else for_sweeps(recipe)


PLAIN = Preparation()


def split_values(path: str, text: str, recipe: Any) -> list[str]:
    """The values of `PATH=v1,v2`; lists are separated by semicolons, as in `blend=1,0;0,1`."""
    is_list = path not in SPECIAL and isinstance(get(recipe, path), tuple)
    return [value.strip() for value in text.split(";" if is_list or ";" in text else ",") if value.strip()]


def axis_from(text: str, recipe: Any) -> Axis:
    """An axis from `PATH=v1,v2,…`, checked against a recipe.

    Raises:
      JaxstyleError: not of that form, no values, an unknown path, or a value of the wrong kind.
    """
    path, equals, values = text.partition("=")
    path = path.strip().lstrip("-").replace("-", "_")
    if not equals or not path:
        raise JaxstyleError(f"'{text}' is not of the form PATH=v1,v2,… such as terms.style.weight=1e3,1e4")
    points = tuple(Point(value, {path: value}) for value in split_values(path, values, recipe))
    if not points:
        raise JaxstyleError(f"'{text}' gives no values; write {path}=v1,v2,…")
    for point in points:
        if path == RECIPE:
            presets.named(point.label)
        elif path == STRENGTH:
            number(point.label)
        else:
            value_from(point.label, path, recipe)
    return Axis(short_names([path])[path], points)


def number(text: str) -> float:
    """A number given as text.

    Raises:
      JaxstyleError: it is none.
    """
    try:
        return float(text)
    except ValueError:
        raise JaxstyleError(f"'{text}' is not a number") from None


def zipped(axes: Sequence[Axis]) -> Axis:
    """Axes that advance together, as one.

    Raises:
      JaxstyleError: they differ in length.
    """
    if len({len(axis.points) for axis in axes}) > 1:
        lengths = ", ".join(f"{axis.name} {len(axis.points)}" for axis in axes)
        raise JaxstyleError(f"paths that change together need as many values each, but got {lengths}", "zip")
    points = tuple(
        Point(" · ".join(point.label for point in together),
              {path: text for point in together for path, text in point.changes.items()})
        for together in zip(*(axis.points for axis in axes))
    )
    return Axis(" · ".join(axis.name for axis in axes), points)


def short_names(names: Sequence[str]) -> dict[str, str]:
    """What a path is called in labels: without the words that only say where it lies."""
    return {name: ".".join(part for part in name.split(".") if part != "terms") for name in names}


def plan(
    base: Recipe, axes: Sequence[Axis], files: Mapping[str, Mapping[str, Files]], weights: str,
    preparation: Preparation = PLAIN,
) -> list[Lane]:
    """A lane for every crossing of the axes and for every entry of `files`.

    Args:
      files: content label -> style label -> files; a label of "" prints nothing.
      preparation: what is done to each lane's recipe.

    Raises:
      JaxstyleError: two axes set the same path, or settings that do not go together.
    """
    used = [path for axis in axes for path in axis.points[0].changes]
    if len(used) != len(set(used)):
        twice = next(path for path in used if used.count(path) > 1)
        raise JaxstyleError(f"'{twice}' is varied twice; give all its values at once", "vary")
    if (count := math.prod(len(axis.points) for axis in axes) * sum(map(len, files.values()))) > MAX_LANES:
        raise JaxstyleError(f"{count:,} lanes are more than a sweep can have ({MAX_LANES:,})")
    lanes = []
    for content, styles in files.items():
        for style, given in styles.items():
            for points in itertools.product(*(axis.points for axis in axes)):
                changes = {path: text for point in points for path, text in point.changes.items()}
                labels = {axis.name: point.label for axis, point in zip(axes, points)}
                pictures = {"photo": content, "style": style}
                lanes.append(Lane(
                    labels={**{name: label for name, label in pictures.items() if label}, **labels},
                    recipe=preparation.of(base, changes, given), files=given, weights=weights))
    return lanes


def for_sweeps(recipe: Recipe) -> Recipe:
    """The recipe with `ArmijoLbfgs` in place of an L-BFGS whose line search would make lanes wait.

    Under `vmap` every lane waits for the longest line search; `ArmijoLbfgs` evaluates once per step.
    docs/sweeps.md has the measurements.
    """
    old = recipe.solver
    if not isinstance(old, Lbfgs | OptaxLbfgs):
        return recipe
    first = {"first_step": old.first_step} if isinstance(old, Lbfgs) else {}
    return replace(recipe, {"solver": ArmijoLbfgs(history=old.history, **first)})


def varied_paths(lanes: Sequence[Labelled]) -> list[str]:
    """The settings in which some lanes differ, in the order of the recipe."""
    seen: dict[str, set[str]] = {}
    for lane in lanes:
        for path, value in paths(lane.recipe).items():
            seen.setdefault(path, set()).add(repr(value))
    return [path for path, values in seen.items() if len(values) > 1]
