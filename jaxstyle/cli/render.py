"""Runs a recipe for a person: says what will happen, shows progress, writes the picture with its manifest."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.cli.interrupts import Interrupted, noting_signals
from jaxstyle.cli.preview import Live
from jaxstyle.cli.progress import shown
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import load_alpha, save
from jaxstyle.ops.resize import resize_to
from jaxstyle.pytrees import to_json
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
    save_seconds: float = 30.0
    live: Live | None = None


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
    if path.is_dir() or not path.parent.is_dir():
        raise JaxstyleError(f"{path}: {'is a folder' if path.is_dir() else 'its folder does not exist'}")
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
    advice = ""
    if weights.name == "random":
        advice = " (no training: for textures only; `jaxstyle weights fetch vgg19` gets the full network)"
    elif weights.name.endswith("-slim"):
        advice = " (bundled; `jaxstyle weights fetch vgg19` gets the full network)"
    several, count = (f" × {len(devices)}", len(devices)) if devices else ("", 1)
    total = held(jax.devices()[0], references) + needed * (count if on_cpu else 1)
    return (f"{device_name()}{several}{cores} · {width}×{height} pixels · weights {weights.name}{advice} · "
            f"about {mebibytes(total)}{'' if on_cpu or count == 1 else ' on each'}")


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
    console.print(headline(weights, references, chosen, needed, devices), highlight=False, soft_wrap=True)
    if said := changes(recipe, chosen):
        of = "the memory that is free" if job.limit is None else f"--max-memory {mebibytes(job.limit)}"
        console.print(f"to fit into {of}: {said}", highlight=False, soft_wrap=True)
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

    def steps(self, at: Snapshot) -> int:
        """Steps of all stages that are done."""
        return self.before[at.stage] + at.step

    def seconds(self) -> float:
        """Since the beginning, of an interrupted run without the pause."""
        return round(time.monotonic() - self.began, 3)

    def picture(self, path: Path, at: Snapshot, status: str = "running") -> dict[str, Any]:
        """Write the picture of a snapshot; returns what its manifest says of it."""
        best = at.search.best
        outcome = {
            "status": status, "steps": self.steps(at), "seconds": self.seconds(), "loss": float(best.value),
            "parts": {name: float(part) for name, part in best.parts.items()},
            "failures": int(at.search.failures),
        }
        job = self.job
        record = manifest(self.recipe, job.files, job.weights, keep_alpha=job.keep_alpha, **outcome)
        height, width, _ = at.image.shape
        mask = None if self.alpha is None else resize_to(self.alpha, height, width)
        save(path, at.image, alpha=mask, text={TEXT_KEY: json.dumps(record)})
        return outcome

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
    with noting_signals() as interrupted:
        with console.status("compiling …"):
            recipe = prepared_run(job, earlier, console)
        keeper = Keeper(job, recipe, earlier)
        if job.resume:
            console.print(resumed_line(keeper, earlier), highlight=False, soft_wrap=True)
        else:
            drop_checkpoints(state_folder(job.output))
        running = stylize_iter(job.weights, job.references, recipe, every=job.every, devices=job.devices,
                               resume=None if earlier is None else snapshot_from(earlier, recipe))
        snapshot = None
        for snapshot, left in shown(running, recipe, console):
            if snapshot.step <= 1:  # a program was made just before
                trim()
            if job.every and snapshot.step and keeper.steps(snapshot) % job.every == 0:
                keeper.picture(snapshot_path(job.output, keeper.steps(snapshot)), snapshot)
            if job.live is not None:
                job.live.update(keeper.steps(snapshot), snapshot.loss,
                                {job.output.name: partial(getattr, snapshot, "image")}, left=left,
                                steps=recipe.total_steps)
                if job.live.stop.is_set():
                    interrupted.signal = signal.SIGINT
            if interrupted:
                break
            keeper.state(snapshot)
        if snapshot is None or (interrupted and not keeper.steps(snapshot)):
            console.print("interrupted before the first step; nothing was written")
            return interrupted.code
        return finished(keeper, snapshot, interrupted, console)


def finished(keeper: Keeper, snapshot: Snapshot, interrupted: Interrupted, console: Console) -> int:
    """Writes the result and says so; returns the exit code."""
    output = keeper.job.output
    outcome = keeper.picture(output, snapshot, "interrupted" if interrupted else "finished")
    if keeper.job.live is not None:
        keeper.job.live.end("interrupted" if interrupted else "finished")
    if interrupted:
        keeper.state(snapshot, now=True)
        state = "interrupted (the same command with --resume goes on): the best image so far"
    else:
        drop_checkpoints(state_folder(output))
        state = "done"
    console.print(f"{state} → {output} ({outcome['seconds']:.0f} s, loss {outcome['loss']:.4g})",
                  highlight=False, soft_wrap=True)
    if outcome["failures"]:
        console.print(f"{outcome['failures']} steps were not finite and were taken back")
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
