"""`jaxstyle train`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from tyro.conf import Positional, UseAppendAction, arg

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.cli.console.interrupts import INTERRUPTED, Interrupted, last_words, noting_signals
from jaxstyle.cli.console.preview import Live, View, live_page
from jaxstyle.cli.running.arguments import Settings
from jaxstyle.cli.running.live import lane_text
from jaxstyle.errors import JaxstyleError
from jaxstyle.fast.card import Card
from jaxstyle.fast.model import Model, numbers_sha256, read_model, style_names
from jaxstyle.fast.shelf import find_model
from jaxstyle.fast.training import recipes
from jaxstyle.fast.training.data import Gathered, gathered
from jaxstyle.fast.training.folder import Bookkeeping, begin, begun, newest_samples, run
from jaxstyle.fast.training.folder import Progress as Step
from jaxstyle.fast.training.loop import make_task
from jaxstyle.fast.training.recipe import Training
from jaxstyle.fast.training.train import check_start
from jaxstyle.images.files import load
from jaxstyle.pytrees import replace, to_json
from jaxstyle.runs.manifest import device_name
from jaxstyle.sweeps.folder import lane_folder
from jaxstyle.sweeps.trainings import Ingredients, run_trainings, training_lanes
from jaxstyle.sweeps.trainings import Progress as Steps
from jaxstyle.transfer.settings import override
from jaxstyle.weights.store import best_available, load_weights, sha256

SECONDS_TO_SAVE = 120.0
"""What a step of a large network, the photos held out and a checkpoint may take after Ctrl-C."""
P = TypeVar("P", Step, Steps)
FIELDS = frozenset(field.name for field in dataclasses.fields(Training))
"""Fields of the recipe; each is an option."""


@dataclass(frozen=True)
class Given:
    """What a training sees with, the model that styles are added to, and the one that it starts from."""

    weights: Weights
    base: Model | None = None
    start: Model | None = None

    def identity(self) -> dict[str, object]:
        """What a training that goes on must have in common with its beginning."""
        return {"model that is added to": "" if self.base is None else list(self.base.card.styles),
                "model that is started from": "" if self.start is None else numbers_sha256(self.start)}

    def notes(self) -> dict[str, object]:
        """What the card says of the model that was started from."""
        if self.start is None:
            return {}
        card = self.start.card
        return {"started from": {"name": card.name, "steps": card.steps, "recipe": card.recipe,
                                 "licence": card.licence, "origin": card.origin, "notes": dict(card.notes)}}


@dataclass(frozen=True)
class Train:
    """Train a fast network: paintings and a folder of photos become a model for `jaxstyle apply`.

    Every field of the recipe is an option, too: --steps 2000 --batch 2 --crop 128 --learning-rate 1e-3
    --terms.style.weight 50 --architecture.width 24 --style-size 384.
    """

    paintings: Annotated[tuple[Path, ...], Positional, arg(metavar="PAINTING ...")]
    """Paintings; each becomes a style of one model, named like its file."""
    photos: Annotated[Path, arg(metavar="DIR")]
    """Folder of photos to train with; every sixteenth is held out."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="DIR")]
    """Folder of the training, and of the model in the end."""
    recipe: Annotated[str, arg(metavar="NAME")] = "default"
    """default, johnson-2016, instance-norm, pytorch-examples, lengstrom, multi-style, deep-style."""
    weights: Annotated[str | None, arg(metavar="NAME")] = None
    """Network to look through: a name from `jaxstyle weights list`, or a .safetensors file."""
    vary: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="PATH=V1,V2,…")] = ()
    """An axis: a setting and its values; every combination is trained, those of equal structure as one
    program, with a report. The same command goes on."""
    resume: bool = False
    """Go on where the training in the folder was stopped."""
    add_to: Annotated[str | None, arg(metavar="MODEL")] = None
    """Add the paintings to this multi-style model; its other styles stay as they are."""
    start_from: Annotated[str | None, arg(metavar="MODEL")] = None
    """Begin with the parameters of this model of the same architecture and number of styles, to go on with
    larger crops, another weight or other paintings; without copying."""
    names: Annotated[str, arg(metavar="A,B,…")] = ""
    """Names of the styles instead of the files'."""
    licence: Annotated[str, arg(metavar="TEXT")] = ""
    """Licence to note on the model's card."""
    save_every: Annotated[int, arg(metavar="STEPS")] = 500
    """Steps between checkpoints."""
    sample_every: Annotated[int, arg(metavar="STEPS")] = 500
    """Steps between grids of held-out photos."""
    preview: Annotated[int | None, arg(metavar="PORT")] = None
    """Show losses and the newest grids at http://127.0.0.1:PORT, with a button that stops and saves."""

    def run(self, settings: Settings, console: Console) -> int:
        """Train, and write the model."""
        if not self.paintings:
            raise JaxstyleError("no painting was given; try: jaxstyle train art.jpg --photos DIR "
                                "-o models/art")
        if begun(self.output) and not self.resume and not self.vary:
            raise JaxstyleError(f"{self.output}: holds a training already; add --resume to go on with it, or "
                                "choose another folder")
        if self.save_every < 1 or self.sample_every < 1:
            raise JaxstyleError("--save-every and --sample-every take a number of steps of at least 1")
        if self.vary and (self.add_to is not None or self.names or self.start_from is not None):
            raise JaxstyleError("--vary trains whole models from paintings named like their files: leave "
                                "--add-to, --start-from and --names out")
        if self.add_to is not None and self.start_from is not None:
            raise JaxstyleError("give --add-to or --start-from, not both")
        weights = load_weights(self.weights or best_available())
        recipe, changed = recipes.on_network(override(recipes.named(self.recipe), dict(settings)), weights)
        base, start = map(found_model, (self.add_to, self.start_from))
        if start is not None and "copying" not in settings:
            recipe = replace(recipe, {"copying": 0})
        if changed:
            console.print(f"trains {changed}", highlight=False, soft_wrap=True)
        if self.vary:
            return self.train_many(recipe, weights, console)
        found = gathered(self.photos, size=recipe.crop, batch=recipe.batch, seed=int(recipe.seed),
                         least_scale=recipe.least_scale)
        try:
            return self.train(recipe, Given(weights, base, start), found, console)
        finally:
            found.photos.close()

    def train_many(self, base: Training, weights: Weights, console: Console) -> int:
        """Trains every combination that --vary names; 130 if it was interrupted."""
        lanes = training_lanes(base, self.vary)
        given = Ingredients(self.paintings, self.photos, weights, self.save_every, self.sample_every,
                            self.licence)
        console.print(f"{device_name()}: {len(lanes)} trainings of {base.steps} steps → {self.output}",
                      highlight=False, soft_wrap=True)
        folders = {lane_text(i, lane.labels): lane_folder(self.output, i) for i, lane in enumerate(lanes)}
        with self.page(console) as live, noting_signals(SECONDS_TO_SAVE) as stop:
            steps = training_on_page(run_trainings(self.output, lanes, given,
                                                   lambda: asked_to_stop(stop, live)), folders, live, stop)
            if not followed(steps, console, "the same command goes on"):
                return INTERRUPTED
        if stop:
            console.print("stopped; the same command goes on from here")
            return stop.code
        from jaxstyle.report.page import write_report  # matplotlib takes half a second to import

        console.print(f"done → {write_report(self.output)}", highlight=False, soft_wrap=True)
        return 0

    def page(self, console: Console) -> AbstractContextManager[Live | None]:
        """The live page, if a port is given."""
        shown = {f"painting {path.name}": path for path in self.paintings}
        return live_page(self.preview, View(title=f"training of {self.output.name}", references=shown),
                         console)

    def styles(self, base: Model | None) -> tuple[str, ...]:
        """Names of all styles of the model."""
        own = style_names(self.paintings)
        if self.names:
            own = tuple(name.strip() for name in self.names.split(","))
        names = (() if base is None else base.card.styles) + own
        if len(own) != len(self.paintings) or len(set(names)) != len(names) or not all(names):
            raise JaxstyleError(f"{len(self.paintings)} paintings need as many different names that the "
                                f"model does not have yet, not {', '.join(own)}; give them with --names")
        return names

    def train(self, recipe: Training, given: Given, found: Gathered, console: Console) -> int:
        """Trains in the folder; 130 if it was interrupted."""
        weights, base, start = given.weights, given.base, given.start
        card = Card(name=self.output.name, styles=self.styles(base), licence=self.licence,
                    origin=f"trained with {weights.name} on {len(found.photos.files)} photos",
                    recipe=to_json(recipe), notes=given.notes())
        identity = {"weights": weights.sha256, "photos": found.sha256, "styles": list(card.styles),
                    "paintings": [sha256(path) for path in self.paintings], **given.identity()}
        task = make_task(recipe, weights, [load(path) for path in self.paintings], base)
        if start is not None:
            check_start(task, start)
        books = Bookkeeping(card=card, identity=identity, held_out=found.held_out, save_every=self.save_every,
                            sample_every=self.sample_every, start=start)
        with self.page(console) as live, noting_signals(SECONDS_TO_SAVE) as stop:
            begin(self.output, recipe, books, self.resume)
            console.print(f"{device_name()}: {len(self.paintings)} paintings, {len(found.photos.files)} "
                          f"photos and {len(found.held_out)} held out, {recipe.steps} steps of "
                          f"{recipe.batch} at {recipe.crop} px → {self.output}", highlight=False,
                          soft_wrap=True)
            steps = training_on_page(run(self.output, recipe, task, found.photos, books,
                                         lambda: asked_to_stop(stop, live)),
                                     {"held-out photos": self.output}, live, stop)
            if not followed(steps, console, "--resume goes on"):
                return INTERRUPTED
        skipped = {**found.skipped, **found.photos.skipped}
        if skipped:
            console.print(f"{len(skipped)} photos were left out because they cannot be decoded: "
                          f"{', '.join(Path(path).name for path in skipped)} (reasons in skipped.json)",
                          style="yellow")
        if stop:
            console.print(f"stopped; go on with --resume. The model so far → {self.output}",
                          highlight=False, soft_wrap=True)
            return stop.code
        console.print(f"done → {self.output}", highlight=False, soft_wrap=True)
        return 0


def found_model(name: str | None) -> Model | None:
    """A model by its name, if one is given."""
    return None if name is None else read_model(find_model(name))


def followed(progress: Iterable[P], console: Console, how: str) -> bool:
    """Runs a training while showing it; False, and a line on how to go on, if a signal ended it unsaved."""
    def say() -> None:
        console.print(f"interrupted; {how} from the last checkpoint", highlight=False, soft_wrap=True)

    try:
        with last_words(say):
            for _ in shown(progress, console):
                continue
    except KeyboardInterrupt:
        say()
        return False
    return True


def shown(progress: Iterable[P], console: Console) -> Iterator[P]:
    """Passes reports on and shows each: step, losses (of lanes: their mean), seconds per step, time left."""
    columns = (TextColumn("training"), BarColumn(bar_width=24),
               TextColumn("{task.completed:.0f}/{task.total:.0f}"), TextColumn("{task.fields[pace]}"),
               TimeRemainingColumn(compact=True), TextColumn("{task.fields[losses]}", style="dim",
                                                                markup=False))
    with Progress(*columns, console=console, disable=not console.is_terminal, refresh_per_second=2) as bar:
        task = bar.add_task("", total=None, pace="", losses="")
        for step in progress:
            report = step.report
            line = " ".join(f"{name} {np.mean(value):.3g}" for name, value in report.losses.items())
            pace = f"{report.seconds:.2f} s/step"
            bar.update(task, total=step.total, completed=report.step, pace=pace, losses=line)
            if report.note:
                console.print(report.note, style="yellow")
            if step.held_out:
                console.print(f"step {report.step}: held-out loss {step.held_out['total']:.4g}",
                              highlight=False)
            if not console.is_terminal:
                console.print(f"step {report.step}/{step.total} {pace}, {step.seconds_left:.0f} s left, "
                              f"{line}", highlight=False, soft_wrap=True)
            yield step


def training_on_page(progress: Iterable[P], folders: Mapping[str, Path], live: Live | None, stop: Interrupted
                     ) -> Iterator[P]:
    """Passes progress on and shows it: the newest samples in each of the folders, the losses, the end."""
    for step in progress:
        yield step
        if live is None:
            continue
        found = {name: newest_samples(folder) for name, folder in folders.items()}
        live.update(step.report.step, {name: float(np.mean(value)) for name, value in
                                       step.report.losses.items()},
                    {name: path for name, path in found.items() if path}, steps=step.total,
                    left=step.seconds_left)
    if live is not None and not asked_to_stop(stop, live):
        live.end("finished")


def asked_to_stop(stop: Interrupted, live: Live | None) -> bool:
    """Whether a signal came, or the page's button was pressed, which then counts as Ctrl-C."""
    if live is not None and live.stop.is_set():
        stop.stop()
    return bool(stop)
