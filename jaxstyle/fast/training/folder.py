"""The folder of a training: checkpoints, history, plot, samples, and in the end the model.

    DIR/training.json     recipe and hashes of everything that it was begun with
    DIR/checkpoints/…     states (`runs.checkpoints`): the newest two and the best
    DIR/history.jsonl     losses, one line per ten steps; held-out losses at every checkpoint
    DIR/loss.png, DIR/samples/00500.png, DIR/skipped.json
    DIR/card.json, DIR/parameters/   the model, when the training is done or stopped
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import jax
import numpy as np

from jaxstyle.atomic import write_whole
from jaxstyle.errors import JaxstyleError
from jaxstyle.fast.card import Card
from jaxstyle.fast.model import Model, write_model
from jaxstyle.fast.network import stylized
from jaxstyle.fast.training.data import Photos
from jaxstyle.fast.training.loop import Report, held_out_loss, model_of, train_iter
from jaxstyle.fast.training.recipe import Training
from jaxstyle.fast.training.train import State, Task, first_state, started_from, whole
from jaxstyle.images.files import save
from jaxstyle.pytrees import to_json
from jaxstyle.reading import parsed, read_bounded
from jaxstyle.runs.checkpoints import restore_checkpoint, save_checkpoint
from jaxstyle.runs.schema import Count

CHECKPOINTS, HISTORY, IDENTITY, SKIPPED = "checkpoints", "history.jsonl", "training.json", "skipped.json"
SAMPLES, SAMPLES_SHOWN = "samples", 3


@dataclass(frozen=True)
class Bookkeeping:
    """What is done beside the steps.

    Attributes:
      save_every: steps between checkpoints; sample_every: between sample grids.
      held_out: squares `[n, S, S, 3]` of photos that are not trained with.
      card: of the model; identity: hashes and names of what the training is made of, ready for JSON.
      start: the model whose parameters it begins with instead of random ones.
    """

    card: Card
    identity: Mapping[str, Any]
    held_out: np.ndarray
    save_every: int = 500
    sample_every: int = 500
    start: Model | None = None


class Noted(TypedDict):
    """A line of the history; the losses stand beside the step."""

    step: Count


@dataclass
class Progress:
    """What a consumer shows after each report."""

    report: Report
    total: int
    held_out: dict[str, float] = field(default_factory=dict)

    @property
    def seconds_left(self) -> float:
        """At the present pace."""
        return (self.total - self.report.step) * self.report.seconds


def begun(folder: Path) -> bool:
    """Whether a training was begun in the folder."""
    return os.path.exists(folder / IDENTITY)  # Path.exists raises where a name is too long


def begin(folder: Path, recipe: Training, books: Bookkeeping, resume: bool) -> None:
    """Make the folder, or check that it holds the same training.

    Raises:
      JaxstyleError: it holds another one, or one at all without `resume`; it cannot be written.
    """
    said = {**books.identity, "recipe": to_json(recipe)}
    if not begun(folder):
        if os.path.isdir(folder) and any(folder.iterdir()):
            raise JaxstyleError(f"{folder}: is not empty and holds no training; choose another folder")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JaxstyleError(f"{folder}: cannot be made ({error.strerror})") from None
        write_whole(folder / IDENTITY, json.dumps(said, indent=1).encode())
        return
    if not resume:
        raise JaxstyleError(f"{folder}: holds a training already; go on with it (resume) or choose another "
                            "folder")
    old = parsed(read_bounded(folder / IDENTITY), dict[str, Any], str(folder / IDENTITY))
    said = json.loads(json.dumps(said))
    for name in said:
        if said[name] != old.get(name, ""):
            raise JaxstyleError(f"{folder}: was begun with another {name}; give the same, or another folder")


def restored(folder: Path, recipe: Training, task: Task, photos: Photos, start: Model | None) -> State:
    """The newest whole state, with the photos at their place; the first state if there is none."""
    shapes = jax.eval_shape(partial(first_state, recipe), task)
    found = restore_checkpoint(folder / CHECKPOINTS, lambda about: shapes)
    if found is None:
        first = first_state(recipe, task)
        return first if start is None else started_from(first, start)
    photos.set_state(found.about["photos"])
    state: State = jax.tree.map(jax.numpy.asarray, found.state)
    return state


def run(folder: Path, recipe: Training, task: Task, photos: Photos, books: Bookkeeping,
        stop: Callable[[], bool] = lambda: False) -> Iterator[Progress]:
    """Trains in a folder that `begin` made, on from its newest state, and writes the model in the end.

    Checkpoints are written beside the steps. After `stop` says so, a last one and the model are written, too.

    Raises:
      JaxstyleError: as `train_iter`; the folder cannot be written.
    """
    state = restored(folder, recipe, task, photos, books.start)
    records = history(folder, int(state.step))
    best = best_checkpoint(records)
    with ThreadPoolExecutor(1) as writer:
        pending: Future[None] | None = None
        for report in train_iter(recipe, task, state, photos, stop):
            state = report.state
            losses = {name: float(value) for name, value in report.losses.items()}
            note(folder, records, {"step": report.step, "seconds": report.seconds, **losses,
                                   **({"note": report.note} if report.note else {})})
            progress = Progress(report, recipe.steps)
            last = report.step == recipe.steps or stop()
            if not report.note and (last or due(report, books.save_every)):
                progress.held_out = held_out_loss(recipe, task, state, books.held_out)
                if progress.held_out:
                    note(folder, records, {"step": report.step, "held_out": progress.held_out})
                    best = best_checkpoint(records)
                if pending is not None:
                    pending.result()
                pending = writer.submit(save_state, folder, state, photos.get_state(), best)
            if last or due(report, books.sample_every):
                write_samples(folder, task, state, books.held_out)
                write_plot(folder, records)
            yield progress
        if pending is not None:
            pending.result()
    write_whole(folder / SKIPPED, json.dumps(photos.skipped, indent=1).encode())
    write_model(folder, model_of(task, state, finished_card(books.card, records, int(state.step))))


def due(report: Report, every: int) -> bool:
    """Whether a multiple of `every` steps was reached; reports come every ten steps."""
    return report.step // every > max(0, report.step - 10) // every


def save_state(folder: Path, state: State, place: Mapping[str, Any], best: int | None) -> None:
    """Write a checkpoint; the newest two and the best stay."""
    save_checkpoint(folder / CHECKPOINTS, int(state.step), jax.tree.map(np.asarray, state), {"photos": place},
                    spare=() if best is None else (best,))


def history(folder: Path, step: int) -> list[dict[str, Any]]:
    """What was noted up to a step; later lines belong to steps that are done again, and a last one may be
    cut short by a kill."""
    records = []
    if (folder / HISTORY).exists():
        for line in (folder / HISTORY).read_text().splitlines():
            try:
                record = parsed(line, Noted, HISTORY)
            except JaxstyleError:
                continue
            if record["step"] <= step:
                records.append(record)
        write_whole(folder / HISTORY, "".join(json.dumps(record) + "\n" for record in records).encode())
    return records


def note(folder: Path, records: list[dict[str, Any]], record: dict[str, Any]) -> None:
    """Add a line to the history."""
    records.append(record)
    try:
        with (folder / HISTORY).open("a") as file:
            file.write(json.dumps(record) + "\n")
    except OSError as error:
        raise JaxstyleError(f"{folder / HISTORY}: cannot be written ({error.strerror})") from None


def best_checkpoint(records: Sequence[Mapping[str, Any]]) -> int | None:
    """The step with the least held-out loss."""
    measured = [(record["held_out"]["total"], record["step"]) for record in records if "held_out" in record]
    return min(measured)[1] if measured else None


def finished_card(card: Card, records: Sequence[Mapping[str, Any]], step: int) -> Card:
    """The card with the steps and the last held-out losses."""
    measured = [record["held_out"] for record in records if "held_out" in record]
    return replace(card, steps=step, losses={"held_out": measured[-1]} if measured else {})


@partial(jax.jit, static_argnums=0)
def _sample(network: Any, params: Any, statistics: Any, image: Any, shares: Any) -> Any:
    return stylized(network, params, image, shares, statistics)


def write_samples(folder: Path, task: Task, state: State, squares: np.ndarray) -> None:
    """A grid: held-out photos in rows, beside them each of the styles."""
    if not len(squares):
        return
    (folder / SAMPLES).mkdir(parents=True, exist_ok=True)
    save(folder / SAMPLES / f"{int(state.step):05d}.png", np.nan_to_num(samples(task, state, squares)))


def newest_samples(folder: Path) -> Path | None:
    """The last grid that was written in a folder, if there is one."""
    return max((folder / SAMPLES).glob("*.png"), key=lambda path: int(path.stem), default=None)


def samples(task: Task, state: State, squares: np.ndarray) -> np.ndarray:
    """The first photos `[n, S, S, 3]`, one per row, and to the right of each what every style makes of it."""
    params = whole(task.base, state.average)
    styles = np.eye(task.network.styles, dtype=np.float32)[-task.count:]
    rows = [np.concatenate([photo, *(np.asarray(_sample(task.network, params, state.statistics, photo, share))
                                     for share in styles)], 1) for photo in squares[:SAMPLES_SHOWN]]
    return np.concatenate(rows)


def write_plot(folder: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Losses against steps, `loss.png`."""
    from matplotlib.figure import Figure  # takes half a second to import

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    lines = [record for record in records if "total" in record and "copy" not in record]
    for name in (key for key in (lines[-1] if lines else {}) if key not in ("step", "seconds", "gradient",
                                                                             "note")):
        axes.plot([r["step"] for r in lines], [r.get(name, np.nan) for r in lines], label=name, linewidth=1)
    held = [record for record in records if "held_out" in record]
    axes.plot([r["step"] for r in held], [r["held_out"]["total"] for r in held], "k.-", label="held out")
    axes.set(yscale="log", xlabel="step", ylabel="weighted loss")
    axes.legend()
    figure.savefig(folder / "loss.png", dpi=110)
