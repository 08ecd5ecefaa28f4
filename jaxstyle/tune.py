"""Searching weights: many candidates side by side, the worse half stopped again and again.

Successive halving (Jamieson & Talwalkar 2016; Karnin, Koren & Somekh 2013) with two costs: candidates are
ranked by Pareto fronts of their distances from photo and painting, and within a front by how alone they stand
(NSGA-II, Deb et al. 2002), so that the whole range from faithful to painted stays covered.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxstyle.balance import measure_balance, roles, with_strength
from jaxstyle.errors import JaxstyleError
from jaxstyle.measure import measured
from jaxstyle.pareto import pareto_front
from jaxstyle.pytrees import replace, stack
from jaxstyle.runs import manifest, recipe_from_json
from jaxstyle.sweep import Batch, Lanes, lane_mesh, place, run_lanes
from jaxstyle.sweep_files import FINISHED, STOPPED, lane_folder, set_status, write_plan
from jaxstyle.sweep_plan import Lane, for_sweeps
from jaxstyle.sweep_runs import Running, note, outcome_of, references_of, write_outcome
from jaxstyle.sweep_width import fitting_width
from jaxstyle.weights import Weights, load_weights

LAYER_SPREAD = 0.8
KEEP_AT_LEAST = 4


@dataclass(frozen=True)
class Rung:
    """A round of halving: candidates that ran, to which step, with which distances; those that go on."""

    step: int
    ran: tuple[int, ...]
    points: Mapping[int, tuple[float, float]]
    kept: tuple[int, ...]


def candidates(weights: Weights, lane: Lane, count: int, seed: int) -> list[Lane]:
    """Lanes with strengths spread evenly over 0.1 … 0.9 and layer weights scattered around the recipe's.

    Each style layer's weight is multiplied by a log-normal factor (σ = 0.8), the sum kept; every fourth
    candidate keeps the recipe's own.

    Raises:
      JaxstyleError: fewer than two, several stages, or a recipe that has nothing to balance.
    """
    if count < 2:
        raise JaxstyleError("--candidates takes a number of at least 2")
    balance = measure_balance(weights, references_of(lane.files), lane.recipe)
    rng = np.random.default_rng(seed)
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


def ranked(points: Mapping[int, tuple[float, float]]) -> list[int]:
    """Best first: by front, and within a front by crowding distance, ends first."""
    left, order = dict(points), []
    while left:
        names = list(left)
        front = [names[i] for i in pareto_front([left[name] for name in names])] or names
        order += sorted(front, key=lambda name: -crowding(name, front, points))
        left = {name: point for name, point in left.items() if name not in front}
    return order


def crowding(name: int, front: Sequence[int], points: Mapping[int, tuple[float, float]]) -> float:
    """Size of the box between the neighbours of a point on its front (sorted by the first cost)."""
    at = list(front).index(name)
    if at in (0, len(front) - 1):
        return float("inf")
    spans = [abs(points[front[-1]][k] - points[front[0]][k]) or 1.0 for k in (0, 1)]
    return sum(abs(points[front[at + 1]][k] - points[front[at - 1]][k]) / spans[k] for k in (0, 1))


def rungs(steps: int, count: int) -> list[int]:
    """Steps at which the worse half stops: the last is `steps`, each before it half as far."""
    halvings = max(0, int(np.log2(count / KEEP_AT_LEAST))) if count > KEEP_AT_LEAST else 0
    return sorted({max(1, round(steps / 2**k)) for k in range(halvings + 1)})


def tune(directory: Path, lane: Lane, *, count: int = 16, seed: int = 0, title: str = "", about: str = "",
         mesh: Mesh | None = None, memory: int | None = None) -> Iterator[Rung]:
    """Runs candidates into the folder of a sweep, halving them; yields after every rung.

    The recipe must have one stage; `memory` bounds the lanes at once (see `memory_budget`).
    Stopped candidates keep their last picture and the status "stopped".

    Raises:
      JaxstyleError: see `candidates`; or the folder holds something else.
    """
    if len(lane.recipe.stages) != 1:
        raise JaxstyleError("tuning works at one size; choose a recipe with one stage, e.g. gatys-2015")
    mesh = mesh or lane_mesh()
    weights = load_weights(lane.weights)
    lane = Lane({}, for_sweeps(lane.recipe), lane.files, lane.weights)
    lanes = candidates(weights, lane, count, seed)
    records = [manifest(each.recipe, each.files, weights, labels=dict(each.labels)) for each in lanes]
    write_plan(directory, lanes, records, title, about)
    runs = [Running(i, each, record, lane_folder(directory, i))
            for i, (each, record) in enumerate(zip(lanes, records))]
    references = references_of(lane.files)
    width = fitting_width(weights, [references] * count, [each.recipe for each in lanes], mesh, memory)
    states: dict[int, Lanes] = {}
    alive = list(range(count))
    steps = rungs(lane.recipe.stages[0].steps, count)
    for step in steps:
        for i in range(0, len(alive), width):
            some = alive[i : i + width]
            batch = place(weights, [references] * len(some), [lanes[j].recipe for j in some], width, mesh)
            for j, state in zip(some, climb([runs[j] for j in some], batch, gathered(states, some), step)):
                states[j] = state
        points = {j: point_of(weights, runs[j], states[j]) for j in alive}
        order = ranked(points)
        kept = sorted(order) if step == steps[-1] else sorted(order[: max(KEEP_AT_LEAST, len(order) // 2)])
        for j in alive:
            if j not in kept or step == steps[-1]:
                finish(runs[j], states.pop(j), weights, STOPPED if j not in kept else FINISHED)
        yield Rung(step, tuple(alive), points, tuple(kept))
        alive = kept
    set_status(directory, FINISHED)


def gathered(states: Mapping[int, Lanes], some: Sequence[int]) -> Lanes | None:
    """The states of lanes, all at one step, as one batch."""
    if some[0] not in states:
        return None
    first = states[some[0]]
    search = stack([states[j].search for j in some])
    return Lanes(images=search.best.x, search=search, losses={}, alive=np.ones(len(some), bool), stage=0,
                 step=first.step, steps=first.steps)


def climb(runs: Sequence[Running], batch: Batch, resume: Lanes | None, step: int) -> list[Lanes]:
    """Runs a batch up to a step, and gives each lane's state there, on the host."""
    for run in runs:
        run.folder.mkdir(parents=True, exist_ok=True)
    began, before = time.monotonic(), 0.0
    earlier = [run.history.seconds[-1] if run.history.seconds else 0.0 for run in runs]
    fresh = resume is None
    for at in run_lanes(batch, stops=(step,), resume=resume):
        now = time.monotonic() - began
        note(runs, at, 0, before, now, first=fresh, earlier=earlier)
        fresh, before = False, now
        if at.step >= step:
            break
    search = jax.device_get(at.search)
    return [Lanes(images=np.clip(search.best.x[i], 0, 1), losses={}, alive=at.alive[i : i + 1], stage=0,
                  search=jax.tree.map(lambda leaf: leaf[i], search), step=at.step, steps=at.steps)  # noqa: B023
            for i in range(len(runs))]


def point_of(weights: Weights, run: Running, state: Lanes) -> tuple[float, float]:
    """Distances of a candidate from photo and painting."""
    found = measured(weights, references_of(run.lane.files), run.lane.recipe, state.images)
    return found["content"], found["style"]


def finish(run: Running, state: Lanes, weights: Weights, status: str) -> None:
    """Write the result of a candidate."""
    outcome = outcome_of(run, state.search.best, int(state.search.failures), bool(state.alive[0]))
    if state.alive[0]:
        outcome["status"] = status
    write_outcome(run, outcome, np.asarray(state.images), weights)


def settings_line(record: Mapping[str, Any]) -> str:
    """The settings that tuning chose, as for the command line of `jaxstyle stylize`."""
    recipe = recipe_from_json(record["recipe"])
    chosen = []
    for name, term in roles(recipe.terms)[1].items():
        chosen.append(f"--terms.{name}.weight {term.weight:.4g}")
        if len(getattr(term, "layer_weights", ())) > 1:
            each = ",".join(f"{weight:.3g}" for weight in term.layer_weights)
            chosen.append(f"--terms.{name}.layer_weights {each}")
    return " ".join(chosen)
