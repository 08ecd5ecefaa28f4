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

from jaxstyle.errors import JaxstyleError
from jaxstyle.fitting import canvas, fit
from jaxstyle.images import load_alpha, resize_to, save
from jaxstyle.progress import shown
from jaxstyle.recipe import Recipe
from jaxstyle.references import References
from jaxstyle.runs import TEXT_KEY, Files, device_name, manifest
from jaxstyle.stylize import Snapshot, memory_to_run, stylize_iter
from jaxstyle.weights import Weights

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


def headline(weights: Weights, references: References, recipe: Recipe) -> str:
    """Device, size of the result, network and memory of a run, in one line."""
    fitted = fit(references, recipe.stages[-1], recipe.style_scale)
    height, width = canvas(fitted).shape[:2]
    cores = f", {os.cpu_count()} cores" if jax.default_backend() == "cpu" else ""
    advice = ""
    if weights.name == "random":
        advice = " (no training: for textures only; `jaxstyle weights fetch vgg19` gets the full network)"
    elif weights.name.endswith("-slim"):
        advice = " (bundled; `jaxstyle weights fetch vgg19` gets the full network)"
    return (f"{device_name()}{cores} · {width}×{height} pixels · weights {weights.name}{advice} · "
            f"about {memory_to_run(weights, references, recipe) / 2**20:,.0f} MiB")


def render(
    weights: Weights, references: References, recipe: Recipe, files: Files, output: Path, *,
    every: int | None = None, keep_alpha: bool = False, console: Console,
) -> int:
    """Makes and saves the picture; returns the exit code (130 if interrupted, with the best so far saved)."""
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
            console.print(headline(weights, references, recipe), highlight=False, soft_wrap=True)
        for snapshot in shown(stylize_iter(weights, references, recipe, every=every), recipe, console):
            step = done_before[snapshot.stage] + snapshot.step
            outcome = outcome_of(snapshot, step, began)
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
