"""Lanes that run together: where they go on from, what is kept of them on the way, and their results."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.images.files import save
from jaxstyle.metrics.distances import measured
from jaxstyle.metrics.distortion import distortion
from jaxstyle.metrics.repetition import measured_repetition
from jaxstyle.ops.resize import resize_to
from jaxstyle.pytrees import stack
from jaxstyle.references import References
from jaxstyle.runs.checkpoints import Checkpoint, restore_checkpoint, save_checkpoint
from jaxstyle.runs.manifest import fingerprint, identity
from jaxstyle.sweeps.capacity import fitting_mesh, fitting_width
from jaxstyle.sweeps.folder import (
    FAILED,
    FINISHED,
    MANIFEST,
    RUNNING,
    STATE,
    History,
    finite,
    make_folder,
    write_json,
    write_result,
)
from jaxstyle.sweeps.plan import Lane
from jaxstyle.sweeps.program import Batch, Lanes, living, pictures, place, run_lanes
from jaxstyle.transfer.controls import finished
from jaxstyle.transfer.memory import program_shapes
from jaxstyle.transfer.program import State
from jaxstyle.transfer.recipe import Recipe


@dataclass(frozen=True)
class Options:
    """How a sweep is run; none of it changes a picture.

    Attributes:
      width: lanes per batch and device; None: as many as fit (into `memory`, see `memory_budget`) and pay.
      snapshots: steps (over all stages) after which each lane's picture is kept too.
      save_seconds: how often the state of running lanes is saved.
      process, processes: which share of the lanes is this process's.
      judge: name of the network that measures the distances of all lanes; None: each lane's own does.
    """

    width: int | None = None
    memory: int | None = None
    snapshots: tuple[int, ...] = ()
    save_seconds: float = 30.0
    process: int = 0
    processes: int = 1
    judge: str | None = None


USUAL = Options()


@dataclass(frozen=True)
class Progress:
    """How far a sweep is: lane-steps of this process done and in all, and the batch that runs.

    `runs` are the lanes of the batch, `snapshot` where it is; `finished` counts lanes, `groups` programs.
    """

    done: int
    total: int
    finished: int
    runs: tuple[Running, ...]
    snapshot: Lanes
    group: int
    groups: int

    @property
    def lanes(self) -> tuple[int, ...]:
        """Indices of the lanes of the batch."""
        return tuple(run.index for run in self.runs)


@dataclass
class Running:
    """A lane that is being run: its pictures, what was saved of it, what it went through, what its last batch
    took."""

    index: int
    lane: Lane
    record: dict[str, Any]
    folder: Path
    references: References
    history: History = field(default_factory=History)
    saved: Checkpoint | None = None
    cost: dict[str, Any] = field(default_factory=dict)


def batches(waiting: Sequence[Running], weights: Weights, options: Options, mesh: Mesh,
            width: int | None = None) -> Iterator[tuple[list[Running], Batch, Lanes | None]]:
    """A group's unfinished lanes in batches; lanes interrupted at the same step go on together.

    Gives the lanes, their batch, and where they go on from (None: they start anew). Lanes of one program end
    bit for bit alike only where that is equally wide: `width` fixes it, however few are waiting.
    """
    if not waiting:
        return
    mesh = fitting_mesh(weights, [run.references for run in waiting],
                        [run.lane.recipe for run in waiting], mesh, options.width, options.memory)
    first = waiting[0].lane
    shape = cache(partial(state_shape, weights, waiting[0].references, first.recipe))
    for run in waiting:
        run.saved = saved_state(run, shape)
        run.history = History(**run.saved.about["history"]) if run.saved else History()
    places = [(run.saved.about["stage"], run.saved.about["step"]) if run.saved else (-1, 0)
              for run in waiting]
    width = width or chosen_width(waiting, weights, options, mesh)
    for where in sorted(set(places), reverse=True):
        runs = [run for run, there in zip(waiting, places) if there == where]
        for i in range(0, len(runs), width):
            some = runs[i : i + width]
            batch = place(weights, [run.references for run in some],
                          [run.lane.recipe for run in some], width, mesh)
            yield some, batch, resumed(some)


def saved_state(run: Running, shape: Callable[[int], State]) -> Checkpoint | None:
    """The newest whole state of a lane, if it is of this very program, whose stages have these shapes."""
    def shapes(about: Mapping[str, Any]) -> State | None:
        stages = len(run.lane.recipe.stages)
        mine = about["fingerprint"] == fingerprint(run.record) and about["stage"] < stages
        return shape(about["stage"]) if mine else None

    return restore_checkpoint(run.folder / STATE, shapes)


def state_shape(weights: Weights, references: References, recipe: Recipe, stage: int) -> State:
    """Search and first image of a stage, as shapes."""
    return program_shapes(weights, references, recipe, stage).state_shapes()


def chosen_width(runs: Sequence[Running], weights: Weights, options: Options, mesh: Mesh) -> int:
    """Lanes per batch over all devices."""
    if options.width is not None:
        return min(options.width, -(-len(runs) // mesh.devices.size)) * mesh.devices.size
    return fitting_width(weights, [run.references for run in runs],
                         [run.lane.recipe for run in runs], mesh, options.memory)


def resumed(runs: Sequence[Running]) -> Lanes | None:
    """The saved state of lanes, all at one step, as one batch; None if they start anew."""
    states = [run.saved for run in runs if run.saved]
    if not states:
        return None
    stage, step = (states[0].about[name] for name in ("stage", "step"))
    search, images = stack([saved.state for saved in states])
    for run in runs:
        run.saved = None  # it may be hundreds of megabytes
    canvases = stack([run.lane.recipe.canvas for run in runs])
    return Lanes(images=pictures(canvases, search.best.x), search=search, first=images, losses={},
                 alive=living(search), stage=stage, step=step, steps=runs[0].lane.recipe.stages[stage].steps)


def steps_before(recipe: Recipe, stage: int) -> int:
    """Steps of all stages before one."""
    return sum(each.steps for each in recipe.stages[:stage])


def run_batch(runs: Sequence[Running], batch: Batch, resume: Lanes | None, options: Options,
              until: int | None = None) -> Iterator[Lanes]:
    """Runs a batch, keeps its records, and saves its state now and then.

    Args:
      until: step (over all stages) to stop at, with the state saved; the end if None. A batch that is there
        already is given as it is.
    """
    began = last_save = time.monotonic()
    end, compile_seconds = until or batch.recipes.total_steps, 0.0
    for run in runs:
        make_folder(run.folder)
        write_json(run.folder / MANIFEST, {**run.record, "status": RUNNING,
                                           "fingerprint": fingerprint(run.record)})
    before, fresh = 0.0, resume is None
    earlier = [run.history.seconds[-1] if run.history.seconds else 0.0 for run in runs]
    ahead: Iterable[Lanes] = run_lanes(batch, stops=(*options.snapshots, end), resume=resume)
    if resume is not None and steps_before(batch.recipes, resume.stage) + resume.step >= end:
        ahead = [resume]
    for at in ahead:
        now = time.monotonic() - began
        done = steps_before(batch.recipes, at.stage) + at.step
        compile_seconds += at.compile_seconds
        note(runs, at, done, (before, now), first=fresh, earlier=earlier)
        fresh, before = False, now
        if at.step and done in options.snapshots:
            keep_pictures(runs, at, done)
        due = time.monotonic() - last_save >= options.save_seconds or done == until
        if at.step and due and at is not resume:
            save_states(runs, at)
            last_save = time.monotonic()
        yield at
        if done >= end:
            break
    for run in runs:
        run.cost = {"compile_seconds": round(compile_seconds, 3), "lanes_in_batch": len(runs),
                    "batch_seconds": round(time.monotonic() - began, 3)}


def shown(run: Running, image: Any, stage: int) -> np.ndarray:
    """The picture that is kept of a lane's image."""
    return np.asarray(finished(image, run.references, run.lane.recipe, stage))


def keep_pictures(runs: Sequence[Running], at: Lanes, done: int) -> None:
    """Write the pictures of a step."""
    for run, image, alive in zip(runs, np.asarray(at.images), at.alive):
        if alive:
            save(run.folder / f"step-{done:05d}.png", shown(run, image, at.stage))


def save_states(runs: Sequence[Running], at: Lanes) -> None:
    """Save each lane of a batch, to go on from."""
    for i, run in enumerate(runs):
        state = jax.tree.map(lambda leaf: leaf[i], (at.search, at.first))  # noqa: B023
        about = {"fingerprint": fingerprint(run.record), "stage": at.stage, "step": at.step,
                 "history": dataclasses.asdict(run.history)}
        save_checkpoint(run.folder / STATE, run.history.steps[-1], state, about)


def note(runs: Sequence[Running], at: Lanes, done: int, seconds: tuple[float, float], first: bool,
         earlier: Sequence[float]) -> None:
    """Add the steps since the last snapshot, of which `done` is the last, to the history of each lane.

    `seconds` since the batch began are those of the last snapshot and of this one, `earlier` those of each
    lane before the batch.
    """
    before, now = seconds
    iterate = at.search.iterate
    if first:
        values = {"total": iterate.value, **iterate.parts}
        for i, run in enumerate(runs):
            run.history.add([0], [now], {name: [value[i]] for name, value in values.items()})
    elif at.losses:
        count = next(iter(at.losses.values())).shape[1]
        for i, run in enumerate(runs):
            times = earlier[i] + np.linspace(before, now, count + 1)[1:]
            run.history.add(range(done - count + 1, done + 1), list(times),
                            {name: v[i] for name, v in at.losses.items()})


def outcome_of(run: Running, at: Lanes, i: int, judge: Weights) -> tuple[dict[str, Any], np.ndarray]:
    """What a manifest says of a lane's end, the `i`-th of a batch, and its image `[H, W, 3]`.

    Distances are measured at the size of the stage that it is in, by the network `judge`.
    """
    best, alive, image = at.search.best, bool(at.alive[i]), shown(run, at.images[i], at.stage)
    outcome = {
        "status": FINISHED if alive else FAILED,
        "steps": run.history.steps[-1], "seconds": run.history.seconds[-1],
        "loss": finite(float(best.value[i])),
        "parts": {name: finite(float(part[i])) for name, part in best.parts.items()},
        "failures": int(at.search.failures[i]), **run.cost,
    }
    if not alive:
        outcome["reason"] = "no finite loss; use smaller weights or a smaller learning rate"
    if np.isfinite(image).all():
        outcome["distances"] = measured(judge, run.references, run.lane.recipe, image,
                                        at.stage)
        outcome["judge"] = identity(judge, run.folder)
        if (photo := run.references.content) is not None:
            height, width, _ = image.shape
            outcome["distortion"] = float(distortion(image, resize_to(photo, height, width)))
        again = measured_repetition(judge, run.references, run.lane.recipe, image, at.stage)
        if again is not None:
            outcome["repetition"] = again
    return outcome, image


def write_outcome(run: Running, outcome: dict[str, Any], image: np.ndarray) -> None:
    """Write the result of a lane."""
    record = {**run.record, **outcome, "fingerprint": fingerprint(run.record)}
    write_result(run.folder, record, image if np.isfinite(image).all() else None, run.history)
