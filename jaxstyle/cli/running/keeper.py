"""What a run for a person writes on its way: pictures, its state, and in the end the result."""

from __future__ import annotations

import itertools
import json
import math
import os
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from jaxstyle.cli.console.interrupts import Interrupted
from jaxstyle.cli.running.job import Job, state_folder
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import load_alpha, save
from jaxstyle.ops.resize import resize_to
from jaxstyle.pytrees import to_json
from jaxstyle.runs.checkpoints import Checkpoint, save_checkpoint
from jaxstyle.runs.manifest import TEXT_KEY, manifest
from jaxstyle.transfer.inputs import stage_shape
from jaxstyle.transfer.loop import Snapshot
from jaxstyle.transfer.recipe import Recipe


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
            interrupted.stop()

    def state(self, at: Snapshot, now: bool = False) -> None:
        """Save the state if it is time to, or `now`."""
        if at.step and (now or time.monotonic() - self.saved >= self.job.save_seconds):
            about = {"asked": self.asked, "recipe": to_json(self.recipe), "stage": at.stage, "step": at.step,
                     "seconds": self.seconds()}
            save_checkpoint(state_folder(self.job.output), self.steps(at), (at.search, at.first), about)
            self.saved = time.monotonic()


def record_of(job: Job) -> dict[str, Any]:
    """What a job asks for, as a manifest has it."""
    record = manifest(job.recipe, job.files, job.weights)
    return {name: record[name] for name in ("recipe", "references", "weights")}
