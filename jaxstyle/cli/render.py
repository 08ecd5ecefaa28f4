"""Runs a recipe for a person: says what will happen, shows progress, writes the picture with its manifest."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.cli.progress import shown
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import load_alpha, save
from jaxstyle.ops.resize import resize_to
from jaxstyle.references import References
from jaxstyle.runs.manifest import TEXT_KEY, Files, device_name, manifest
from jaxstyle.transfer.inputs import check_split, stage_shape
from jaxstyle.transfer.layout import Devices
from jaxstyle.transfer.loop import Snapshot, stylize_iter
from jaxstyle.transfer.memory import changes, fitting, held, mebibytes, memory_budget, memory_to_run, trim
from jaxstyle.transfer.recipe import Recipe

INTERRUPTED = 130


def snapshot_path(output: Path, step: int) -> Path:
    """Where the picture after `step` steps goes."""
    return output.with_name(f"{output.stem}-{step:05d}{output.suffix}")


def check_output(path: Path, force: bool, snapshots: Sequence[Path] = ()) -> None:
    """Raise before any work if the picture (or one of its `snapshots`) could not be written in the end.

    Raises:
      JaxstyleError: the file exists and `force` is not set, its folder is missing, or its type is unknown.
    """
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"):
        raise JaxstyleError(f"{path}: cannot write this kind of file; use .png, .jpg, .webp or .tiff")
    if path.is_dir() or not path.parent.is_dir():
        raise JaxstyleError(f"{path}: {'is a folder' if path.is_dir() else 'its folder does not exist'}")
    if not os.access(path.parent, os.W_OK):
        raise JaxstyleError(f"{path}: its folder cannot be written to")
    for existing in (path, *snapshots):
        if existing.exists() and not force:
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


def prepared_run(weights: Weights, references: References, recipe: Recipe, limit: int | None, replay: bool,
                 devices: Devices, console: Console) -> Recipe:
    """The recipe in a form that fits into memory (a replay's as it is); says what will run."""
    if devices:
        check_split(references, recipe, len(devices))
    if replay:
        needed, chosen = memory_to_run(weights, references, recipe), recipe
    else:
        budget = memory_budget(devices or jax.devices()[:1], limit, references)
        chosen, needed = fitting(weights, references, recipe, budget, devices)
    console.print(headline(weights, references, chosen, needed, devices), highlight=False, soft_wrap=True)
    if said := changes(recipe, chosen):
        of = "the memory that is free" if limit is None else f"--max-memory {mebibytes(limit)}"
        console.print(f"to fit into {of}: {said}", highlight=False, soft_wrap=True)
    return chosen


def render(
    weights: Weights, references: References, recipe: Recipe, files: Files, output: Path, *,
    every: int | None = None, keep_alpha: bool = False, limit: int | None = None, replay: bool = False,
    devices: Devices = (), console: Console,
) -> int:
    """Makes and saves the picture; returns the exit code (130 if interrupted, with the best so far saved).

    Args:
      limit: bytes to stay within (see `memory_budget`), if need be by the means of `transfer.memory.smaller`.
      replay: run the recipe as it is, whatever it needs; devices: over which the image is split.
    """
    began = time.monotonic()
    alpha = load_alpha(files.content) if keep_alpha and files.content else None
    snapshot, interrupted = None, False
    outcome: dict[str, Any] = {}
    done_before = [sum(stage.steps for stage in recipe.stages[:i]) for i in range(len(recipe.stages))]

    def write(path: Path, at: Snapshot) -> None:
        record = manifest(recipe, files, weights, keep_alpha=keep_alpha, **outcome)
        height, width, _ = at.image.shape
        mask = None if alpha is None else resize_to(alpha, height, width)
        save(path, at.image, alpha=mask, text={TEXT_KEY: json.dumps(record)})

    try:
        with console.status("compiling …"):
            recipe = prepared_run(weights, references, recipe, limit, replay, devices, console)
        running = stylize_iter(weights, references, recipe, every=every, devices=devices)
        for snapshot in shown(running, recipe, console):
            step = done_before[snapshot.stage] + snapshot.step
            outcome = outcome_of(snapshot, step, began)
            if snapshot.step <= 1:  # a program was made just before
                trim()
            if every and snapshot.step and step % every == 0:
                write(snapshot_path(output, step), snapshot)
    except KeyboardInterrupt:
        interrupted = True
    if snapshot is None:
        console.print("interrupted before the first step; nothing was written")
        return INTERRUPTED
    outcome["status"] = "interrupted" if interrupted else "finished"
    write(output, snapshot)
    state = "interrupted: the best image so far" if interrupted else "done"
    console.print(f"{state} → {output} ({outcome['seconds']:.0f} s, loss {outcome['loss']:.4g})",
                  highlight=False, soft_wrap=True)
    if outcome["failures"]:
        console.print(f"{outcome['failures']} steps were not finite and were taken back")
    return INTERRUPTED if interrupted else 0


def outcome_of(snapshot: Snapshot, step: int, began: float) -> dict[str, Any]:
    """What a manifest says of a run so far."""
    best = snapshot.search.best
    return {
        "status": "running", "steps": step, "seconds": round(time.monotonic() - began, 3),
        "loss": float(best.value), "parts": {name: float(part) for name, part in best.parts.items()},
        "failures": int(snapshot.search.failures),
    }
