"""Searching weights: many candidates side by side, the worse half stopped again and again.

Successive halving (Jamieson & Talwalkar 2016; Karnin, Koren & Somekh 2013) with two costs: candidates are
ranked by Pareto fronts of their distances from photo and painting, and within a front by how alone they stand
(NSGA-II, Deb et al. 2002), so that the whole range from faithful to painted stays covered.

A search is a sweep whose lanes end at different steps. Its plan also holds, under "tune":

    asked    what the command asked for: hash of recipe and inputs, number of candidates, seed, rungs
    recipes  the candidates; measured once, then read from here, so that going on needs no second
             measurement to come out the same to the last bit
    rungs    the rounds so far; written when all candidates of a round have come to its step with their states
             saved, and before the results of those it stops, so that each decision is made once
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.metrics.pareto import pareto_front
from jaxstyle.pytrees import to_json
from jaxstyle.references import References
from jaxstyle.runs.manifest import fingerprint, load_references, manifest
from jaxstyle.runs.replay import recipe_from_json
from jaxstyle.sweeps.batches import (
    USUAL,
    Options,
    Progress,
    Running,
    batches,
    chosen_width,
    outcome_of,
    run_batch,
    steps_before,
    write_outcome,
)
from jaxstyle.sweeps.folder import (
    FINISHED,
    STOPPED,
    finite,
    held_plan,
    holds_another,
    is_finished,
    lane_folder,
    update_plan,
    write_plan,
)
from jaxstyle.sweeps.plan import Lane, for_sweeps
from jaxstyle.sweeps.search.candidates import Tuning, candidates
from jaxstyle.transfer.layout import lane_mesh
from jaxstyle.weights.store import load_weights

KEEP_AT_LEAST = 4
NOWHERE = (math.nan, math.nan)
Ends = dict[int, tuple[dict[str, Any], np.ndarray]]
"""Candidate -> what a manifest says of its end, and its image."""


@dataclass(frozen=True)
class Rung:
    """A round of halving: candidates that ran, to which step (over all stages), with which distances (not a
    number for one that failed), and those that go on; after the last round, those that finished."""

    step: int
    ran: tuple[int, ...]
    points: Mapping[int, tuple[float, float]]
    kept: tuple[int, ...]


def ranked(points: Mapping[int, tuple[float, float]]) -> list[int]:
    """Best first: by front, and within a front by crowding distance, ends first. All must be finite."""
    left, order = dict(points), []
    while left:
        names = list(left)
        front = [names[i] for i in pareto_front([left[name] for name in names])]
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


def going_on(count: int) -> int:
    """How many of so many candidates the next round has."""
    return min(count, max(KEEP_AT_LEAST, count // 2))


def tune(directory: Path, tuning: Tuning, options: Options = USUAL, mesh: Mesh | None = None
         ) -> Iterator[Progress]:
    """Runs candidates into the folder of a sweep, halving them, or goes on where that was interrupted.

    Rungs are steps over all stages, half, quarter … of the recipe's; a candidate climbs through its stages as
    a lane of a sweep does, and its distances are measured at the size that it has at the rung. Those
    stopped keep their last picture and the status "stopped". `read_rungs` gives what was decided.

    After an interruption, candidates with a result are left alone, others go on from their last state, and
    what was decided stays decided; a candidate whose files are damaged is run again to where it was to end.

    Raises:
      JaxstyleError: see `candidates`; fewer than two of them; or the folder holds something else.
    """
    mesh = mesh or lane_mesh()
    lane, count = tuning.lane, tuning.candidates
    lane = Lane({}, for_sweeps(lane.recipe), lane.files, lane.weights)
    tuning = replace_fields(tuning, lane=lane)
    weights = load_weights(lane.weights)
    references = load_references(lane.files)  # nothing is written if a picture is damaged
    steps = rungs(lane.recipe.total_steps, count)
    runs = planned(directory, tuning, weights, references, steps)
    # One width for all rounds: one program for each stage, and the same numbers wherever it was interrupted.
    width = chosen_width(runs, weights, options, mesh)
    decided = {rung.step: rung for rung in read_rungs(directory)}
    alive, made, total = tuple(range(count)), dict.fromkeys(range(count), 0), lane_steps(steps, count)
    for step in steps:
        rung, ends = decided.get(step), Ends()
        waiting = [runs[i] for i in alive if rung is None or unwritten(runs[i], rung, steps)]
        made.update(dict.fromkeys(alive if rung else (), step))
        for some, batch, resume in batches(waiting, weights, options, mesh, width):
            for at in run_batch(some, batch, resume, options, until=step):
                done = steps_before(batch.recipes, at.stage) + at.step
                made.update((run.index, done) for run in some)
                if at is not resume:
                    yield Progress(sum(made.values()), total, count - len(alive),
                                   tuple(some), at, at.stage, len(lane.recipe.stages))
            ends.update((run.index, outcome_of(run, at, i, weights)) for i, run in enumerate(some))
        if rung is None:
            rung = decide(step, alive, ends, last=step == steps[-1])
            write_rung(directory, rung)
        write_ends(runs, ends, rung, steps)
        alive = rung.kept
    update_plan(directory, status=FINISHED)


def planned(directory: Path, tuning: Tuning, weights: Weights, references: References, steps: Sequence[int]
            ) -> list[Running]:
    """The candidates, from the plan in the folder or measured and written there (see the top).

    Raises:
      JaxstyleError: the folder holds something else.
    """
    lane = tuning.lane
    asked = {"fingerprint": fingerprint(manifest(lane.recipe, lane.files, weights)),
             "candidates": tuning.candidates, "seed": tuning.seed, "rungs": list(steps)}
    old = held_plan(directory)
    if old is None:
        lanes = candidates(weights, references, tuning)
        search: Mapping[str, Any] = {"asked": asked,
                                     "recipes": [to_json(each.recipe) for each in lanes], "rungs": []}
    else:
        search = old.get("tune", {})
        if search.get("asked") != asked:
            raise holds_another(directory)
        lanes = [Lane(entry["labels"], recipe_from_json(recipe), lane.files, lane.weights)
                 for entry, recipe in zip(old["lanes"], search["recipes"])]
    records = [manifest(each.recipe, each.files, weights, beside=lane_folder(directory, i),
                        labels=dict(each.labels)) for i, each in enumerate(lanes)]
    write_plan(directory, lanes, records, tuning.title, tuning.about, more={"tune": search})
    return [Running(i, each, record, lane_folder(directory, i), references)
            for i, (each, record) in enumerate(zip(lanes, records))]


def decide(step: int, ran: Sequence[int], ends: Ends, last: bool) -> Rung:
    """What is decided at a rung: the better half goes on; at the last, all that have not failed are kept."""
    points = {i: NOWHERE for i in ran}
    for i in ran:
        outcome, _ = ends[i]
        if outcome["status"] == FINISHED:
            points[i] = outcome["distances"]["content"], outcome["distances"]["style"]
    order = ranked({i: point for i, point in points.items() if np.isfinite(point).all()})
    return Rung(step, tuple(ran), points, tuple(sorted(order if last else order[: going_on(len(ran))])))


def ending(rung: Rung, steps: Sequence[int]) -> set[int]:
    """Candidates whose result a rung is: those that it stops, and at the last all."""
    return set(rung.ran) if rung.step == steps[-1] else set(rung.ran) - set(rung.kept)


def unwritten(run: Running, rung: Rung, steps: Sequence[int]) -> bool:
    """Whether a decided rung is the end of a candidate and yet its result is not there, or damaged."""
    return run.index in ending(rung, steps) and not is_finished(run.folder, run.record)


def write_ends(runs: Sequence[Running], ends: Ends, rung: Rung, steps: Sequence[int]) -> None:
    """Write the results of those whose end a rung is."""
    for i in sorted(ends.keys() & ending(rung, steps)):
        outcome, image = ends[i]
        stopped = i not in rung.kept and outcome["status"] == FINISHED
        write_outcome(runs[i], {**outcome, "status": STOPPED} if stopped else outcome, image)


def lane_steps(steps: Sequence[int], count: int) -> int:
    """Steps of all candidates together, if none fails."""
    total = before = 0
    for step in steps:
        total, count, before = total + count * (step - before), going_on(count), step
    return total


def write_rung(directory: Path, rung: Rung) -> None:
    """Add a rung to the plan."""
    plan: Any = held_plan(directory)
    search = plan["tune"]
    points = {str(i): [finite(cost) for cost in point] for i, point in rung.points.items()}
    entry = {"step": rung.step, "ran": rung.ran, "points": points, "kept": rung.kept}
    update_plan(directory, tune={**search, "rungs": [*search["rungs"], entry]})


def read_rungs(directory: Path) -> list[Rung]:
    """The rungs that a search has come to so far.

    Raises:
      JaxstyleError: the folder holds no search.
    """
    plan = held_plan(directory)
    if plan is None or "tune" not in plan:
        raise JaxstyleError(f"{directory}: holds no search; make one with jaxstyle tune")
    return [Rung(entry["step"], tuple(entry["ran"]),
                 {int(i): NOWHERE if point[0] is None or point[1] is None else (point[0], point[1])
                  for i, point in entry["points"].items()}, tuple(entry["kept"]))
            for entry in plan["tune"]["rungs"]]
