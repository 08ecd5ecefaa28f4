"""Runs a recipe for a person: says what will happen, shows progress, writes the picture with its manifest."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.cli.interrupts import Interrupted, last_words, noting_signals
from jaxstyle.cli.preview import Live
from jaxstyle.cli.progress import shown
from jaxstyle.cli.terminal import marked
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import load_alpha, save
from jaxstyle.ops.resize import resize_to
from jaxstyle.pytrees import to_json
from jaxstyle.reading import shown as shortened
from jaxstyle.references import References
from jaxstyle.runs.checkpoints import Checkpoint, drop_checkpoints, restore_checkpoint, save_checkpoint
from jaxstyle.runs.manifest import TEXT_KEY, Files, device_name, manifest, recorded_entries
from jaxstyle.runs.replay import recipe_from_json
from jaxstyle.transfer.inputs import check_split, stage_shape
from jaxstyle.transfer.layout import Devices
from jaxstyle.transfer.loop import Snapshot, stylize_iter
from jaxstyle.transfer.memory import (
    changes,
    fitting,
    held,
    mebibytes,
    memory_budget,
    memory_to_run,
    program_shapes,
    trim,
)
from jaxstyle.transfer.program import State
from jaxstyle.transfer.recipe import Recipe


@dataclass(frozen=True)
class Job:
    """A picture to be made.

    Attributes:
      files: where the references come from; every: steps after which to write a picture, too.
      limit: bytes to stay within (see `memory_budget`), if need be by means of `transfer.memory.smaller`.
      as_it_was: a replay, which runs the recipe as it is, whatever it needs.
      resume: go on from the state that an interrupted run left beside `output`.
      force: `output` may be replaced (by a resumed run too, whose own picture it is).
      devices: over which the image is split; save_seconds: how often the state is saved.
      live: a page to show it on, whose button stops it as Ctrl-C does.
    """

    weights: Weights
    references: References
    recipe: Recipe
    files: Files
    output: Path
    every: int | None = None
    keep_alpha: bool = False
    limit: int | None = None
    devices: Devices = ()
    as_it_was: bool = False
    resume: bool = False
    force: bool = False
    save_seconds: float = 30.0
    live: Live | None = None


LONGEST_NAME = 200
"""Bytes; file systems take 255, and snapshots have longer names than the result."""


def state_folder(output: Path) -> Path:
    """Where the state of an unfinished run is, beside its picture."""
    return output.with_name(f"{output.name}.state")


def snapshot_path(output: Path, step: int) -> Path:
    """Where the picture after `step` steps goes."""
    return output.with_name(f"{output.stem}-{step:05d}{output.suffix}")


def check_output(path: Path, force: bool, snapshots: Sequence[Path] = (), resume: bool = False) -> None:
    """Raise before any work if the picture (or one of its `snapshots`) could not be written in the end.

    Raises:
      JaxstyleError: the file (or the state of an interrupted run) exists and `force` is not set, its folder
        is missing, or its type is unknown.
    """
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"):
        raise JaxstyleError(f"{path}: cannot write this kind of file; use .png, .jpg, .webp or .tiff")
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise JaxstyleError(f"{shortened(path)}: this name is longer than {LONGEST_NAME} bytes")
    if (folder := os.path.isdir(path)) or not os.path.isdir(path.parent):
        raise JaxstyleError(f"{path}: {'is a folder' if folder else 'its folder does not exist'}")
    if not os.access(path.parent, os.W_OK):
        raise JaxstyleError(f"{path}: its folder cannot be written to")
    state = state_folder(path)
    if state.exists() and not force and not resume:
        raise JaxstyleError(f"{state}: an interrupted run left its state there; add --resume to go on with "
                            "it, or --force to start anew")
    for existing in (path, *snapshots):
        if existing.exists() and not force and not (resume and state.exists()):
            raise JaxstyleError(f"{existing}: exists already; add --force to overwrite it")


def headline(weights: Weights, references: References, recipe: Recipe, needed: int, devices: Devices = ()
             ) -> str:
    """Device, size of the result, network and memory of a run, in one line."""
    height, width = stage_shape(references, recipe.stages[-1])
    on_cpu = jax.default_backend() == "cpu"
    cores = f", {os.cpu_count()} cores" if on_cpu else ""
    several, count = (f" × {len(devices)}", len(devices)) if devices else ("", 1)
    total = held(jax.devices()[0], references) + needed * (count if on_cpu else 1)
    name = Path(weights.name).stem if weights.name.endswith(".safetensors") else weights.name
    return (f"{device_name()}{several}{cores} · {width}×{height} pixels · weights {name} · about "
            f" {mebibytes(total)}{'' if on_cpu or count == 1 else ' on each'}")


def advice(weights: Weights) -> str:
    """What is said of a network that is not the best; "" of others."""
    gets = "`jaxstyle weights fetch vgg19` gets the full network"
    if weights.name == "random":
        return f"random numbers, no training: for textures only; {gets}"
    return f"{weights.name} is the small bundled network; {gets}" if weights.name.endswith("-slim") else ""


def prepared_run(job: Job, earlier: Checkpoint | None, console: Console) -> Recipe:
    """The recipe in a form that fits into memory (that of an earlier run as it was); says what will run."""
    weights, references, recipe, devices = job.weights, job.references, job.recipe, job.devices
    if devices:
        check_split(references, recipe, len(devices))
    if earlier is not None:
        chosen = recipe_from_json(earlier.about["recipe"])
        needed = memory_to_run(weights, references, chosen, devices)
    elif job.as_it_was:
        needed, chosen = memory_to_run(weights, references, recipe), recipe
    else:
        budget = memory_budget(devices or jax.devices()[:1], job.limit, references)
        chosen, needed = fitting(weights, references, recipe, budget, devices)
    console.print(headline(weights, references, chosen, needed, devices))
    if said := advice(weights):
        console.print(said, style="dim")
    if said := changes(recipe, chosen):
        of = "the memory that is free" if job.limit is None else f"--max-memory {mebibytes(job.limit)}"
        console.print(f"to fit into {of}: {said}")
    return chosen


def earlier_state(job: Job) -> Checkpoint | None:
    """What an interrupted run of this very job left; None if it left nothing, or nothing whole.

    Raises:
      JaxstyleError: it was another job.
    """
    asked = record_of(job)

    def shapes(about: Mapping[str, Any]) -> State:
        if other := differing(about["asked"], asked):
            raise JaxstyleError(f"{state_folder(job.output)}: is the state of a run with another {other}; "
                                "run the same command as then, or --force without --resume to start anew")
        recipe = recipe_from_json(about["recipe"])
        return program_shapes(job.weights, job.references, recipe, about["stage"]).state_shapes()

    return restore_checkpoint(state_folder(job.output), shapes)


def record_of(job: Job) -> dict[str, Any]:
    """What a job asks for, as a manifest has it."""
    record = manifest(job.recipe, job.files, job.weights)
    return {name: record[name] for name in ("recipe", "references", "weights")}


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Which part of a job is another one, in words; "" if none is."""
    if old["recipe"] != new["recipe"]:
        return "recipe"
    if old["weights"]["sha256"] != new["weights"]["sha256"]:
        return "network"
    hashes = [[entry["sha256"] for _, entry in recorded_entries(job["references"])] for job in (old, new)]
    return "" if hashes[0] == hashes[1] else "picture"


class Keeper:
    """Writes what a run leaves behind on its way: pictures, its state, and in the end the result."""

    def __init__(self, job: Job, recipe: Recipe, earlier: Checkpoint | None) -> None:
        self.job, self.recipe, self.asked = job, recipe, record_of(job)
        self.alpha = load_alpha(job.files.content) if job.keep_alpha and job.files.content else None
        self.before = [sum(stage.steps for stage in recipe.stages[:i]) for i in range(len(recipe.stages))]
        self.began = time.monotonic() - (earlier.about["seconds"] if earlier else 0.0)
        self.saved = time.monotonic()
        self.ending, self.ended, self.outcome = threading.Lock(), False, dict[str, Any]()
        self.stage, self.first_loss = -1, math.nan

    def reached(self, at: Snapshot) -> None:
        """Note what is needed of a snapshot later: its search is used up when the next one is asked for."""
        best = at.search.best
        self.outcome = {
            "status": "running", "steps": self.steps(at), "seconds": self.seconds(),
            "loss": float(best.value), "parts": {name: float(part) for name, part in best.parts.items()},
            "failures": int(at.search.failures),
        }
        if at.stage != self.stage:
            self.stage, self.first_loss = at.stage, self.outcome["loss"]

    def stood_still(self, at: Snapshot) -> str:
        """What to say of a run whose last stage ended where it began; "" of any other."""
        if self.job.resume or at.step < 3 or self.outcome["loss"] < self.first_loss:
            return ""
        return (f"no step made the loss smaller than {self.first_loss:.4g}, so the picture is the one that "
                "the stage began with; use smaller weights or a smaller learning rate")

    def steps(self, at: Snapshot) -> int:
        """Steps of all stages that are done."""
        return self.before[at.stage] + at.step

    def seconds(self) -> float:
        """Since the beginning, of an interrupted run without the pause."""
        return round(time.monotonic() - self.began, 3)

    def picture(self, path: Path, at: Snapshot, status: str = "running", overwrite: bool = True
                ) -> None:
        """Write the picture of the snapshot that was reached last."""
        image, outcome = at.image, {**self.outcome, "status": status, "seconds": self.seconds()}
        height, width = stage_shape(self.job.references, self.recipe.stages[-1])
        if status == "interrupted" and image.shape[:2] != (height, width):
            image = resize_to(image, height, width)  # of an early stage, but what was asked for was this size
        self.outcome = outcome
        job = self.job
        record = manifest(self.recipe, job.files, job.weights, beside=path.parent,
                          keep_alpha=job.keep_alpha, **outcome)
        mask = None if self.alpha is None else resize_to(self.alpha, image.shape[0], image.shape[1])
        text = {TEXT_KEY: json.dumps(record)}
        save(path, jnp.clip(image, 0, 1), alpha=mask, text=text, overwrite=overwrite)

    def result(self, at: Snapshot, status: str) -> Path:
        """Write the picture asked for; returns where: beside a file of that name that appeared meanwhile."""
        output = self.job.output
        replaces = self.job.force or self.job.resume
        for number in itertools.count(2):
            try:
                self.picture(output, at, status, replaces)
                return output
            except JaxstyleError:
                if replaces or not os.path.lexists(output):
                    raise
                output = self.job.output.with_stem(f"{self.job.output.stem}-{number}")
        raise AssertionError("never reached")

    def keep_for_later(self, at: Snapshot) -> str:
        """Save the state of an interrupted run if that can be done; says whether it can go on."""
        if threading.current_thread() is threading.main_thread():
            self.state(at, now=True)
        there = state_folder(self.job.output).is_dir()
        return " (the same command with --resume goes on)" if there else ""

    def show(self, at: Snapshot, left: float | None, interrupted: Interrupted) -> None:
        """Show a snapshot on the live page, if there is one; its button stops the run as Ctrl-C does."""
        live = self.job.live
        if live is None:
            return
        live.update(self.steps(at), at.loss, {self.job.output.name: partial(getattr, at, "image")}, left=left,
                    steps=self.recipe.total_steps)
        if live.stop.is_set():
            interrupted.signal = signal.SIGINT

    def state(self, at: Snapshot, now: bool = False) -> None:
        """Save the state if it is time to, or `now`."""
        if at.step and (now or time.monotonic() - self.saved >= self.job.save_seconds):
            about = {"asked": self.asked, "recipe": to_json(self.recipe), "stage": at.stage, "step": at.step,
                     "seconds": self.seconds()}
            save_checkpoint(state_folder(self.job.output), self.steps(at), (at.search, at.first), about)
            self.saved = time.monotonic()


def render(job: Job, console: Console) -> int:
    """Makes and saves the picture; returns the exit code (see `Interrupted`: the best so far is saved)."""
    earlier = earlier_state(job) if job.resume else None
    snapshot = None
    with noting_signals() as interrupted:
        with console.status("compiling …"):
            recipe = prepared_run(job, earlier, console)
        keeper = Keeper(job, recipe, earlier)
        if job.resume:
            console.print(resumed_line(keeper, earlier))
        else:
            drop_checkpoints(state_folder(job.output))
        running = stylize_iter(job.weights, job.references, recipe, every=job.every, devices=job.devices,
                               resume=None if earlier is None else snapshot_from(earlier, recipe))
        with last_words(lambda: finished(keeper, snapshot, interrupted, console)):
            for snapshot, left in shown(running, recipe, console):
                keeper.reached(snapshot)
                if snapshot.step <= 1:  # a program was made just before
                    trim()
                if job.every and snapshot.step and keeper.steps(snapshot) % job.every == 0:
                    keeper.picture(snapshot_path(job.output, keeper.steps(snapshot)), snapshot)
                keeper.show(snapshot, left, interrupted)
                if interrupted:
                    break
                keeper.state(snapshot)
            return finished(keeper, snapshot, interrupted, console)


def finished(keeper: Keeper, snapshot: Snapshot | None, interrupted: Interrupted, console: Console) -> int:
    """Writes the result and says so; returns the exit code.

    Where a signal has to end the process, two threads may come here: the second finds that all is done.
    """
    with keeper.ending:
        if keeper.ended:
            return interrupted.code
        keeper.ended = True
        if snapshot is None or (interrupted and not keeper.steps(snapshot)):
            console.print("interrupted before the first step; nothing was written")
            return interrupted.code
        output = keeper.result(snapshot, "interrupted" if interrupted else "finished")
        if keeper.job.live is not None:
            keeper.job.live.end("interrupted" if interrupted else "finished")
        outcome, stage = keeper.outcome, keeper.recipe.stages[snapshot.stage]
        if interrupted:
            goes_on = keeper.keep_for_later(snapshot)
            small = snapshot.stage + 1 < len(keeper.recipe.stages) and stage.size is not None
            state = (f"interrupted{goes_on}: the best image so far"
                     f"{f', enlarged from the stage at {stage.size} pixels,' if small else ''}")
        else:
            drop_checkpoints(state_folder(keeper.job.output))
            state = "done"
        asked = keeper.job.output
        meanwhile = "" if output == asked else f"; {asked} appeared meanwhile and stays"
        console.print(f"{state} → {output} ({outcome['seconds']:.0f} s, loss {outcome['loss']:.4g})"
                      f"{meanwhile}")
        if outcome["failures"]:
            console.print(f"{outcome['failures']} steps were not finite and were taken back")
        if still := keeper.stood_still(snapshot):
            console.print(marked("warning:", "yellow", still))
        return interrupted.code


def resumed_line(keeper: Keeper, earlier: Checkpoint | None) -> str:
    """Says where a run goes on."""
    if earlier is None:
        return "no state to go on from: starting at the first step"
    return f"going on after step {keeper.before[earlier.about['stage']] + earlier.about['step']}"


def snapshot_from(earlier: Checkpoint, recipe: Recipe) -> Snapshot:
    """The snapshot that a state was saved of."""
    search, first = earlier.state
    stage = earlier.about["stage"]
    return Snapshot(picture=first, search=search, first=first, losses={}, stage=stage,
                    step=earlier.about["step"], steps=recipe.stages[stage].steps)
