"""Many trainings of fast networks at once: those of equal structure are lanes of one program.

The folder is that of a sweep (`sweeps.folder`); a lane's folder holds its model beside the picture, which
shows photos that were not trained with and what each style makes of them; `samples/` has earlier ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.fast.card import Card
from jaxstyle.fast.model import Model, style_names, write_model
from jaxstyle.fast.training.data import Gathered, gathered
from jaxstyle.fast.training.folder import due, samples, write_samples
from jaxstyle.fast.training.loop import Report, held_out_losses, make_task, model_of, train_iter
from jaxstyle.fast.training.recipe import Training
from jaxstyle.fast.training.recipes import training_from_json
from jaxstyle.fast.training.train import State, Task, first_state
from jaxstyle.images.files import load
from jaxstyle.pytrees import paths, stack, structure, to_json, unstack
from jaxstyle.runs.checkpoints import drop_checkpoints, restore_checkpoint, save_checkpoint
from jaxstyle.runs.manifest import Files, fingerprint, manifest, name_from
from jaxstyle.sweeps.folder import (
    FAILED,
    FINISHED,
    STATE,
    History,
    finite,
    is_finished,
    lane_folder,
    make_folder,
    update_plan,
    write_plan,
    write_result,
)
from jaxstyle.sweeps.plan import MAX_LANES, SPECIAL, axis_from
from jaxstyle.transfer.settings import override


@dataclass(frozen=True)
class TrainingLane:
    """One training: name of each axis -> where on it this lane is, and its recipe."""

    labels: Mapping[str, str]
    recipe: Training


@dataclass(frozen=True)
class Ingredients:
    """What all lanes share.

    Attributes:
      paintings: files; photos: folder; licence: of the models.
      save_every: steps between checkpoints; sample_every: between grids of samples, in each lane's folder.
    """

    paintings: tuple[Path, ...]
    photos: Path
    weights: Weights
    save_every: int = 500
    sample_every: int = 500
    licence: str = ""


@dataclass(frozen=True)
class Group:
    """Lanes of one program.

    Attributes:
      indices: of the lanes; recipe: theirs, stacked; shots: photos of this group's size.
    """

    indices: tuple[int, ...]
    recipe: Training
    task: Task
    shots: Gathered


@dataclass
class Progress:
    """How far a group is; `held_out` is the mean over its lanes."""

    report: Report
    lanes: tuple[int, ...]
    total: int
    held_out: dict[str, float] = field(default_factory=dict)

    @property
    def seconds_left(self) -> float:
        """Of this group, at the present pace."""
        return (self.total - self.report.step) * self.report.seconds


def training_lanes(base: Training, texts: Sequence[str]) -> list[TrainingLane]:
    """A lane for every crossing of axes `PATH=v1,v2,…`.

    Raises:
      JaxstyleError: no such setting, a value of the wrong kind, a setting that is varied twice, or too many.
    """
    for text in texts:
        if text.partition("=")[0] in SPECIAL:
            raise JaxstyleError(f"'{text}': a training varies settings of its recipe: "
                                f"{', '.join(list(paths(base))[:4])}, …")
    axes = [axis_from(text, base) for text in texts]
    names = [axis.name for axis in axes]
    if twice := {name for name in names if names.count(name) > 1}:
        raise JaxstyleError(f"'{min(twice)}' is varied twice; give all its values at once")
    if np.prod([len(axis.points) for axis in axes]) > MAX_LANES:
        raise JaxstyleError(f"more than {MAX_LANES:,} trainings; vary less")
    return [TrainingLane({name: point.label for name, point in zip(names, points)},
                         override(base, {path: text for point in points
                                         for path, text in point.changes.items()}))
            for points in itertools.product(*(axis.points for axis in axes))]


def run_trainings(directory: Path, lanes: Sequence[TrainingLane], given: Ingredients,
                  stop: Callable[[], bool] = lambda: False) -> Iterator[Progress]:
    """Trains all lanes into a folder, one group after another, on from where they are.

    After `stop` says so, a checkpoint is written and the lanes of the group are left for later.

    Raises:
      JaxstyleError: the folder holds something else, an input cannot be used, or no lane of a group has a
        finite loss.
    """
    images = [load(path) for path in given.paintings]
    groups: list[Group] = []
    try:
        groups.extend(grouped(indices, lanes, given, images) for indices in equal_structures(lanes))
        records = [record_of(directory, i, lane, given, groups[0].shots.sha256)
                   for i, lane in enumerate(lanes)]
        write_plan(directory, lanes, records, title=f"training on {', '.join(style_names(given.paintings))}",
                   about="Photos held out, and what each model makes of them; distances and losses are means "
                   f"over these photos. Programs: {len(groups)}.")
        for number, group in enumerate(groups):
            if not all(is_finished(lane_folder(directory, i), records[i]) for i in group.indices):
                yield from train_group(directory, number, group, given, records, stop)
            if stop():
                return
    finally:
        for group in groups:
            group.shots.photos.close()
    update_plan(directory, status=FINISHED)


def equal_structures(lanes: Sequence[TrainingLane]) -> list[tuple[int, ...]]:
    """Indices of lanes that share a program."""
    found: dict[Any, list[int]] = {}
    for i, lane in enumerate(lanes):
        found.setdefault(structure(lane.recipe), []).append(i)
    return [tuple(indices) for indices in found.values()]


def grouped(indices: tuple[int, ...], lanes: Sequence[TrainingLane], given: Ingredients,
            images: Sequence[np.ndarray]) -> Group:
    """Lanes of equal structure with what they are made of; all see the photos of the first one's seed."""
    first = lanes[indices[0]].recipe
    shots = gathered(given.photos, size=first.crop, batch=first.batch, seed=int(first.seed),
                     least_scale=first.least_scale)
    return Group(indices, stack([lanes[i].recipe for i in indices]), make_task(first, given.weights, images),
                 shots)


def record_of(directory: Path, index: int, lane: TrainingLane, given: Ingredients, photos: str
              ) -> dict[str, Any]:
    """The manifest of a lane; in place of a photo it names the folder of photos, by the hash of its list."""
    folder = lane_folder(directory, index)
    record = manifest(lane.recipe, Files(styles=tuple(map(str, given.paintings))), given.weights,
                      beside=folder, labels=dict(lane.labels))
    record["references"]["content"] = {"path": name_from(str(given.photos), folder), "sha256": photos}
    return record


def train_group(directory: Path, number: int, group: Group, given: Ingredients,
                records: Sequence[Mapping[str, Any]], stop: Callable[[], bool]) -> Iterator[Progress]:
    """Trains the lanes of a group and writes what came of each."""
    folder, recipe, shots = directory / STATE / str(number), group.recipe, group.shots
    make_folder(folder)
    state, histories = begun(folder, group)
    held: dict[str, np.ndarray] = {}
    for report in train_iter(recipe, group.task, state, shots.photos, stop):
        state = report.state
        progress = Progress(report, group.indices, recipe.steps)
        if not report.note:
            if "copy" not in report.losses:
                noted(histories, report)
            if report.step == recipe.steps or stop() or due(report, given.save_every):
                held = held_out_losses(recipe, group.task, state, shots.held_out)
                progress.held_out = {name: float(values.mean()) for name, values in held.items()}
                save_checkpoint(folder, report.step, jax.tree.map(np.asarray, state), {
                    "photos": shots.photos.get_state(), "histories": [vars(each) for each in histories]})
            if due(report, given.sample_every):
                for place, index in enumerate(group.indices):
                    write_samples(lane_folder(directory, index), group.task, unstack(state, place),
                                  shots.held_out)
        yield progress
    if int(np.max(state.step)) == recipe.steps:
        held = held or held_out_losses(recipe, group.task, state, shots.held_out)
        for place, index in enumerate(group.indices):
            losses = {name: float(values[place]) for name, values in held.items()}
            lane = unstack(state, place)
            write_lane(lane_folder(directory, index),
                       {**records[index], "status": FINISHED if lane.scale > 0 else FAILED},
                       histories[place], one_model(group, given, place, lane, losses),
                       samples(group.task, lane, shots.held_out))
        drop_checkpoints(folder)


def begun(folder: Path, group: Group) -> tuple[State, list[History]]:
    """The newest whole state of a group, with the photos at their place, or the first; and what was noted."""
    starts = [partial(first_state, unstack(group.recipe, i)) for i in range(len(group.indices))]

    def first() -> State:
        return stack([start(group.task) for start in starts])

    shapes = jax.eval_shape(first)
    found = restore_checkpoint(folder, lambda about: shapes)
    if found is None:
        return first(), [History() for _ in starts]
    group.shots.photos.set_state(found.about["photos"])
    return jax.tree.map(jax.numpy.asarray, found.state), [History(**each) for each in
                                                          found.about["histories"]]


def noted(histories: Sequence[History], report: Report) -> None:
    """Adds the losses of a report to the history of each lane."""
    for place, history in enumerate(histories):
        done, before = (history.steps[-1], history.seconds[-1]) if history.steps else (0, 0.0)
        history.add([report.step], [before + (report.step - done) * report.seconds],
                    {name: [float(values[place])] for name, values in report.losses.items()})


def one_model(group: Group, given: Ingredients, place: int, lane: State, losses: Mapping[str, float]
              ) -> Model:
    """The network of the lane at a place of a group, with its card."""
    card = Card(name=f"lane-{group.indices[place]:04d}", styles=style_names(given.paintings),
                licence=given.licence, recipe=to_json(unstack(group.recipe, place)),
                steps=int(lane.step),
                origin=f"trained with {given.weights.name} on {len(group.shots.photos.files)} photos",
                losses={"held_out": dict(losses)} if losses else {})
    return model_of(group.task, lane, card)


def write_lane(folder: Path, record: Mapping[str, Any], history: History, model: Model, picture: np.ndarray
               ) -> None:
    """Write model, picture and losses of a lane, and last the manifest that vouches for them."""
    make_folder(folder)
    write_model(folder, model)
    losses = model.card.losses.get("held_out", {})
    outcome: dict[str, Any] = {
        "steps": history.steps[-1], "seconds": history.seconds[-1],
        "loss": finite(losses.get("total", history.losses["total"][-1])),
        "parts": {name: finite(value) for name, value in losses.items() if name != "total"},
        "fingerprint": fingerprint(record),
        "distances": distances(training_from_json(record["recipe"]), losses), "judge": record["weights"]}
    if record["status"] == FAILED:
        outcome["reason"] = "no finite loss; use smaller weights or a smaller learning rate"
    write_result(folder, {**record, **outcome}, np.clip(picture, 0, 1), history)


def distances(recipe: Training, losses: Mapping[str, float]) -> dict[str, float]:
    """Content and style losses without their weights, where they are relative to their targets."""
    found = {}
    for name in ("content", "style"):
        term = recipe.terms.get(name)
        if name in losses and getattr(term, "normalization", "") == "relative":
            found[name] = losses[name] / float(getattr(term, "weight", 1.0))
    return found
