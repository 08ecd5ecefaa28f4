"""What a search of weights begins with: candidates around a recipe; and what it chose, as settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.metrics.strength import measure_balance, roles, with_strength
from jaxstyle.pytrees import replace
from jaxstyle.references import References
from jaxstyle.runs.replay import recipe_from_json
from jaxstyle.sweeps.plan import Lane

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

    Each style layer's weight is multiplied by a log-normal factor (σ = 0.8), the sum kept; every fourth
    candidate keeps the recipe's own.

    Raises:
      JaxstyleError: a recipe that has nothing to balance.
    """
    lane, count = tuning.lane, tuning.candidates
    balance = measure_balance(weights, references, lane.recipe)
    rng = np.random.default_rng(tuning.seed)
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
        made.append(Lane(labels={**labels, "layer weights": scattered}, recipe=recipe, files=lane.files,
                         weights=lane.weights))
    return made


def chosen_settings(record: Mapping[str, Any]) -> dict[str, str]:
    """The settings of a recipe that tuning chose, path -> value as text."""
    recipe = recipe_from_json(record["recipe"])
    chosen = {}
    for name, term in roles(recipe.terms)[1].items():
        chosen[f"terms.{name}.weight"] = f"{term.weight:.4g}"
        layer_weights = getattr(term, "layer_weights", ())
        if len(layer_weights) > 1:
            chosen[f"terms.{name}.layer_weights"] = ",".join(f"{weight:.3g}" for weight in layer_weights)
    return chosen
