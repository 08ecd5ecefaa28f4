"""Runs a planned sweep into a folder: groups, batches, results as they finish, and going on after a stop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from jaxstyle.images import save
from jaxstyle.measure import measured
from jaxstyle.pytrees import stack
from jaxstyle.recipe import Recipe
from jaxstyle.references import References
from jaxstyle.runs import Files, load_references, manifest
from jaxstyle.solvers import Iterate
from jaxstyle.stylize import aim, begin, network_for
from jaxstyle.sweep import Batch, Lanes, group_key, lane_mesh, place, run_lanes
from jaxstyle.sweep_files import (
    FAILED,
    FINISHED,
    MANIFEST,
    RUNNING,
    History,
    Saved,
    fingerprint,
    finite,
    is_finished,
    lane_folder,
    load_state,
    save_state,
    set_status,
    write_json,
    write_plan,
    write_result,
)
from jaxstyle.sweep_plan import Lane
from jaxstyle.sweep_width import fitting_width
from jaxstyle.weights import Weights, load_weights


@dataclass(frozen=True)
class Options:
    """How a sweep is run; none of it changes a result.

    Attributes:
      width: lanes per batch and device; None: as many as fit and pay.
      snapshots: steps (over all stages) after which each lane's picture is kept too.
      save_seconds: how often the state of running lanes is saved.
      process, processes: which share of the lanes is this process's.
    """

    width: int | None = None
    snapshots: tuple[int, ...] = ()
    save_seconds: float = 30.0
    process: int = 0
    processes: int = 1


@dataclass(frozen=True)
class Progress:
    """How far a sweep is: lane-steps of this process done and in all, and the batch that runs.

    `lanes` are indices of the batch, `snapshot` where it is; `finished` counts lanes, `groups` programs.
    """

    done: int
    total: int
    finished: int
    lanes: tuple[int, ...]
    snapshot: Lanes
    group: int
    groups: int


@dataclass
class Running:
    """A lane that is being run."""

    index: int
    lane: Lane
    record: dict[str, Any]
    folder: Path
    history: History = field(default_factory=History)
    saved: Saved | None = None


@cache
def references_of(files: Files) -> References:
    """Reference images, read once per sweep."""
    return load_references(files)


def total_steps(lane: Lane) -> int:
    """Steps of a lane over all stages."""
    return sum(stage.steps for stage in lane.recipe.stages)


def run_sweep(directory: Path, lanes: Sequence[Lane], *, title: str = "", about: str = "",
              options: Options = Options(), mesh: Mesh | None = None) -> Iterator[Progress]:
    """Runs all lanes of this process into a folder; lanes that are finished there are left alone.

    Raises:
      JaxstyleError: the folder holds something else, or an input cannot be used.
    """
    mesh = mesh or lane_mesh()
    references_of.cache_clear()  # files may have changed since another sweep of this process
    weights = {name: load_weights(name) for name in {lane.weights for lane in lanes}}
    records = [manifest(lane.recipe, lane.files, weights[lane.weights], labels=dict(lane.labels))
               for lane in lanes]
    if options.process == 0:
        write_plan(directory, lanes, records, title, about)
    together("planned", options)
    groups = grouped(lanes, options)
    total = sum(total_steps(lanes[i]) for group in groups for i in group)
    done = finished = 0
    for number, group in enumerate(groups):
        waiting = [Running(i, lanes[i], records[i], lane_folder(directory, i)) for i in group
                   if not is_finished(lane_folder(directory, i), records[i])]
        done += sum(total_steps(lanes[i]) for i in group) - sum(total_steps(run.lane) for run in waiting)
        finished += len(group) - len(waiting)
        network = weights[lanes[group[0]].weights]
        for runs, batch, resume in batches(waiting, network, options, mesh):
            for at in run_batch(runs, batch, resume, network, options):
                steps = sum(stage.steps for stage in batch.recipes.stages[: at.stage]) + at.step
                yield Progress(done + len(runs) * steps, total, finished,
                               tuple(run.index for run in runs), at, number, len(groups))
            done += sum(total_steps(run.lane) for run in runs)
            finished += len(runs)
    together("finished", options)
    if options.process == 0:
        set_status(directory, FINISHED)


def together(moment: str, options: Options) -> None:
    """Wait until every process of the sweep has come here."""
    if options.processes > 1:
        multihost_utils.sync_global_devices(f"jaxstyle sweep {moment}")


def grouped(lanes: Sequence[Lane], options: Options) -> list[list[int]]:
    """Indices of lanes that share a program, and of them this process's share."""
    groups: dict[Any, list[int]] = {}
    for i, lane in enumerate(lanes):
        key = lane.weights, group_key(lane.recipe, references_of(lane.files))
        groups.setdefault(key, []).append(i)
    shares = ([i for position, i in enumerate(group)
               if position * options.processes // len(group) == options.process]
              for group in groups.values())
    return [share for share in shares if share]


def batches(waiting: Sequence[Running], weights: Weights, options: Options, mesh: Mesh
            ) -> Iterator[tuple[list[Running], Batch, Lanes | None]]:
    """A group's unfinished lanes in batches; lanes interrupted at the same step go on together."""
    if not waiting:
        return
    mesh = lane_mesh(list(mesh.devices.flat[: len(waiting)]))
    for run in waiting:
        run.saved = usable_state(run, weights)
    places = [(run.saved.stage, run.saved.step) if run.saved else (-1, 0) for run in waiting]
    width = chosen_width(waiting, weights, options, mesh)
    for where in sorted(set(places), reverse=True):
        runs = [run for run, there in zip(waiting, places) if there == where]
        for i in range(0, len(runs), width):
            some = runs[i : i + width]
            batch = place(weights, [references_of(run.lane.files) for run in some],
                          [run.lane.recipe for run in some], width, mesh)
            yield some, batch, resumed(some)


def usable_state(run: Running, weights: Weights) -> Saved | None:
    """The saved state of a lane if it is whole and of this very program."""
    saved = load_state(run.folder, fingerprint(run.record))
    if saved is None or saved.stage >= len(run.lane.recipe.stages):
        return None
    like = search_shape(weights, references_of(run.lane.files), run.lane.recipe, saved.stage)
    return saved if saved.fits(like) else None


def search_shape(weights: Weights, references: References, recipe: Recipe, stage: int) -> Any:
    """The search of a stage, as shapes."""
    network = network_for(weights, recipe)
    aims = jax.eval_shape(partial(aim, stage=stage), network, references, recipe)
    return jax.eval_shape(partial(begin, stage=stage, previous=None), network, references, recipe, aims)


def chosen_width(runs: Sequence[Running], weights: Weights, options: Options, mesh: Mesh) -> int:
    """Lanes per batch over all devices."""
    if options.width is not None:
        return options.width * mesh.devices.size
    return fitting_width(weights, [references_of(run.lane.files) for run in runs],
                         [run.lane.recipe for run in runs], mesh)


def resumed(runs: Sequence[Running]) -> Lanes | None:
    """The saved state of lanes, all at one step, as one batch; None if they start anew."""
    states = [run.saved for run in runs if run.saved]
    if not states:
        return None
    for run, saved in zip(runs, states):
        run.history = saved.history
    first = states[0]
    search = stack([saved.search for saved in states])
    return Lanes(images=search.best.x, search=search, losses={}, alive=np.ones(len(runs), bool),
                 stage=first.stage, step=first.step,
                 steps=runs[0].lane.recipe.stages[first.stage].steps)


def run_batch(runs: Sequence[Running], batch: Batch, resume: Lanes | None, weights: Weights,
              options: Options) -> Iterator[Lanes]:
    """Runs a batch, keeps its records, saves its state now and then, and writes its results."""
    began = last_save = time.monotonic()
    stages = batch.recipes.stages
    compile_seconds = 0.0
    for run in runs:
        run.folder.mkdir(parents=True, exist_ok=True)
        write_json(run.folder / MANIFEST, {**run.record, "status": RUNNING,
                                           "fingerprint": fingerprint(run.record)})
    before, fresh = 0.0, resume is None
    earlier = [run.history.seconds[-1] if run.history.seconds else 0.0 for run in runs]
    for at in run_lanes(batch, stops=options.snapshots, resume=resume):
        now = time.monotonic() - began
        offset = sum(stage.steps for stage in stages[: at.stage])
        compile_seconds += at.compile_seconds
        note(runs, at, offset, before, now, first=fresh, earlier=earlier)
        fresh, before = False, now
        if at.step and offset + at.step in options.snapshots:
            for run, image, alive in zip(runs, np.asarray(at.images), at.alive):
                if alive:
                    save(run.folder / f"step-{offset + at.step:05d}.png", image)
        if at.step and time.monotonic() - last_save >= options.save_seconds:
            for i, run in enumerate(runs):
                search = jax.tree.map(lambda leaf: leaf[i], at.search)  # noqa: B023
                save_state(run.folder, search, at.stage, at.step, run.history, fingerprint(run.record))
            last_save = time.monotonic()
        yield at
        last = at
    images = np.asarray(last.images)
    common = {"compile_seconds": round(compile_seconds, 3), "lanes_in_batch": len(runs),
              "batch_seconds": round(time.monotonic() - began, 3)}
    for i, run in enumerate(runs):
        settle(run, last, i, images[i], weights, common)


def note(runs: Sequence[Running], at: Lanes, offset: int, before: float, now: float, first: bool,
         earlier: Sequence[float]) -> None:
    """Add the steps since the last snapshot to the history of each lane.

    `before` and `now` are seconds since this session began, `earlier` those of each lane before it.
    """
    iterate = at.search.iterate
    if first:
        values = {"total": iterate.value, **iterate.parts}
        for i, run in enumerate(runs):
            run.history.add([0], [now], {name: [value[i]] for name, value in values.items()})
    elif at.losses:
        count = next(iter(at.losses.values())).shape[1]
        steps = range(offset + at.step - count + 1, offset + at.step + 1)
        for i, run in enumerate(runs):
            seconds = earlier[i] + np.linspace(before, now, count + 1)[1:]
            run.history.add(steps, list(seconds), {name: v[i] for name, v in at.losses.items()})


def settle(run: Running, at: Lanes, i: int, image: np.ndarray, weights: Weights, common: Mapping[str, Any]
           ) -> None:
    """Write the result of a lane whose batch has ended."""
    best = jax.tree.map(lambda leaf: leaf[i], at.search.best)
    outcome = outcome_of(run, best, int(at.search.failures[i]), bool(at.alive[i]))
    write_outcome(run, {**outcome, **common}, image, weights)


def outcome_of(run: Running, best: Iterate, failures: int, alive: bool) -> dict[str, Any]:
    """What a manifest says of a lane's end."""
    outcome = {
        "status": FINISHED if alive else FAILED,
        "steps": run.history.steps[-1], "seconds": run.history.seconds[-1],
        "loss": finite(float(best.value)),
        "parts": {name: finite(float(part)) for name, part in best.parts.items()},
        "failures": failures,
    }
    if not alive:
        outcome["reason"] = "no finite loss; use smaller weights or a smaller learning rate"
    return outcome


def write_outcome(run: Running, outcome: dict[str, Any], image: np.ndarray, weights: Weights) -> None:
    """Measure a lane's image and write all that came of it."""
    good = bool(np.isfinite(image).all())
    if good:
        outcome["distances"] = measured(weights, references_of(run.lane.files), run.lane.recipe, image)
    record = {**run.record, **outcome, "fingerprint": fingerprint(run.record)}
    write_result(run.folder, record, image if good else None, run.history)
