"""Runs a recipe for a person: says what will happen, shows progress, writes the picture with its manifest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.cli.console.interrupts import Interrupted, last_words, noting_signals
from jaxstyle.cli.console.progress import shown
from jaxstyle.cli.console.terminal import marked
from jaxstyle.cli.running.job import Job, snapshot_path, state_folder
from jaxstyle.cli.running.keeper import Keeper, record_of
from jaxstyle.errors import JaxstyleError
from jaxstyle.references import References
from jaxstyle.runs.checkpoints import Checkpoint, drop_checkpoints, restore_checkpoint
from jaxstyle.runs.manifest import device_name, recorded_entries
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
from jaxstyle.transfer.platform import lacks_bfloat16
from jaxstyle.transfer.program import State
from jaxstyle.transfer.recipe import Recipe
from jaxstyle.weights import SUFFIX


def headline(weights: Weights, references: References, recipe: Recipe, needed: int, devices: Devices = ()
             ) -> str:
    """Device, size of the result, network and memory of a run, in one line."""
    height, width = stage_shape(references, recipe.stages[-1])
    on_cpu = jax.default_backend() == "cpu"
    cores = f", {os.cpu_count()} cores" if on_cpu else ""
    several, count = (f" × {len(devices)}", len(devices)) if devices else ("", 1)
    total = held(jax.devices()[0], references) + needed * (count if on_cpu else 1)
    name = Path(weights.name).stem if weights.name.endswith(SUFFIX) else weights.name
    return (f"{device_name()}{several}{cores} · {width}×{height} pixels · weights {name} · about "
            f"{mebibytes(total)}{'' if on_cpu or count == 1 else ' on each'}")


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
    if chosen.precision == "bfloat16" and lacks_bfloat16():
        console.print("this processor has no products of bfloat16: float32 may be faster here", style="dim")
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


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Which part of a job is another one, in words; "" if none is."""
    if old["recipe"] != new["recipe"]:
        return "recipe"
    if old["weights"]["sha256"] != new["weights"]["sha256"]:
        return "network"
    hashes = [[entry["sha256"] for _, entry in recorded_entries(job["references"])] for job in (old, new)]
    return "" if hashes[0] == hashes[1] else "picture"


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
