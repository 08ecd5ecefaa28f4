"""What a search of weights begins with: candidates around a recipe; and what it chose, as settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.losses import Neighbours, Patches, TotalVariation
from jaxstyle.metrics.strength import measure_balance, roles, with_strength
from jaxstyle.pytrees import get, replace
from jaxstyle.references import References
from jaxstyle.runs.replay import recipe_from_json
from jaxstyle.solvers import Adagrad, Adam, RMSprop, Sgd
from jaxstyle.sweeps.plan import Lane
from jaxstyle.transfer.recipe import Recipe

LAYER_SPREAD = 0.8


@dataclass(frozen=True)
class Tuning:
    """What is searched.

    Attributes:
      lane: recipe, files and weights that candidates vary; candidates: how many there are to begin with.
      seed: of what is drawn at random; title, about: of the report.
    """

    lane: Lane
    candidates: int = 16
    seed: int = 0
    title: str = ""
    about: str = ""

    def __post_init__(self) -> None:
        if self.candidates < 2:
            raise JaxstyleError("a search takes at least 2 candidates", "candidates")


def candidates(weights: Weights, references: References, tuning: Tuning) -> list[Lane]:
    """Lanes with strengths spread evenly over 0.1 … 0.9 and layer weights scattered around the recipe's.

    Each style layer's weight is multiplied by a log-normal factor (σ = 0.8), the sum kept; so are γ of terms
    that match by maps, weights of total variation, and the learning rate of a first-order solver (each by its
    own). Every fourth candidate keeps the recipe's own.

    Raises:
      JaxstyleError: a recipe that has nothing to balance.
    """
    lane, count = tuning.lane, tuning.candidates
    balance = measure_balance(weights, references, lane.recipe)
    rng, more = np.random.default_rng(tuning.seed), np.random.default_rng((tuning.seed, 1))
    others = other_weights(lane.recipe, bool(lane.files.content_map))
    made = []
    for i, strength in enumerate(np.linspace(0.1, 0.9, count)):
        recipe = with_strength(lane.recipe, balance, float(strength))
        labels = {"strength": f"{strength:.2f}"}
        scattered = "as they are"
        if i % 4:
            for name, term in roles(recipe.terms)[1].items():
                old = np.array(getattr(term, "layer_weights", ()), float)
                if len(old) > 1:
                    new = old * rng.lognormal(0, LAYER_SPREAD, len(old))
                    new *= old.sum() / new.sum()
                    recipe = replace(recipe, {f"terms.{name}.layer_weights": tuple(map(float, new))})
                    scattered = " ".join(f"{weight:.2g}" for weight in new)
        labels["layer weights"] = scattered
        for path, factor in zip(others, more.lognormal(0, LAYER_SPREAD, len(others))):
            value = float(get(recipe, path)) * (float(factor) if i % 4 else 1.0)
            recipe = replace(recipe, {path: value})
            labels[path.removeprefix("terms.")] = f"{value:.3g}"
        made.append(Lane(labels=labels, recipe=recipe, files=lane.files, weights=lane.weights))
    return made


def other_weights(recipe: Recipe, guided: bool) -> list[str]:
    """Paths of the numbers of a recipe, besides those of style and content, that a search varies: how much
    maps count in matching, if there are maps, how smooth the result is, and the learning rate of a
    first-order solver."""
    found = []
    for name, term in recipe.terms.items():
        if isinstance(term, Patches | Neighbours) and guided:
            found.append(f"terms.{name}.gamma")
        if isinstance(term, TotalVariation):
            found.append(f"terms.{name}.weight")
    if isinstance(recipe.solver, Adam | Adagrad | RMSprop):
        found.append("solver.learning_rate")
    if isinstance(recipe.solver, Sgd):
        found.append("solver.first_step")
    return found


def chosen_settings(record: Mapping[str, Any]) -> dict[str, str]:
    """The settings of a recipe that tuning chose, path -> value as text."""
    recipe = recipe_from_json(record["recipe"])
    chosen = {}
    for name, term in roles(recipe.terms)[1].items():
        chosen[f"terms.{name}.weight"] = f"{term.weight:.4g}"
        layer_weights = getattr(term, "layer_weights", ())
        if len(layer_weights) > 1:
            chosen[f"terms.{name}.layer_weights"] = ",".join(f"{weight:.3g}" for weight in layer_weights)
    for path in other_weights(recipe, bool(record["references"].get("content_map"))):
        chosen[path] = f"{float(get(recipe, path)):.4g}"
    return chosen
