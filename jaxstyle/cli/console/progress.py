"""What runs and sweeps look like in a terminal: live lines; a line now and then where nobody watches."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from jaxstyle.runs.manifest import device_name
from jaxstyle.sweeps.batches import Progress as SweepProgress
from jaxstyle.transfer.loop import Snapshot
from jaxstyle.transfer.recipe import Recipe

LOG_SECONDS = 10.0
OTHER_COLUMNS = 58
"""Width of all columns but that of the losses."""


def losses_line(snapshot: Snapshot, recipe: Recipe) -> str:
    """Total loss and its parts in the recipe's order, short."""
    names = [name for name in ("total", *recipe.terms) if name in snapshot.losses]
    return " ".join(f"{name} {snapshot.losses[name][-1]:.3g}" for name in names)


def cut(text: str, width: int) -> str:
    """A text that fits into so many columns."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def time_left(recipe: Recipe, stage: int, step: int, pace: float) -> float:
    """Seconds that a run still takes when its stage takes `pace` seconds per step.

    A later stage's steps take longer in proportion to its pixels.
    """
    own = recipe.stages[stage].size
    later = sum(each.steps * (each.size / own) ** 2 if each.size and own else each.steps
                for each in recipe.stages[stage + 1 :])
    return pace * (recipe.stages[stage].steps - step + later)


def span(seconds: float) -> str:
    """A time for people: "40 s", "12 min", "3.2 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def shown(snapshots: Iterable[Snapshot], recipe: Recipe, console: Console
          ) -> Iterator[tuple[Snapshot, float | None]]:
    """Passes snapshots on with the seconds left in all, and shows each: stage, step, losses, pace."""
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(bar_width=16),
        TextColumn("{task.completed:.0f}/{task.fields[of]}"), TextColumn("{task.fields[pace]}"),
        TextColumn("{task.fields[losses]}", style="dim", markup=False),
    )
    room, stages = console.width - OTHER_COLUMNS, len(recipe.stages)
    with Progress(*columns, console=console, disable=not console.is_terminal, refresh_per_second=4) as bar:
        def began(stage: int) -> tuple[TaskID, float, int]:
            label = f"stage {stage + 1}/{stages}"
            task = bar.add_task(label, total=None, pace="", of=recipe.stages[stage].steps,
                                losses="compiling …")
            return task, time.monotonic(), 0

        tasks: dict[int, tuple[TaskID, float, int]] = {}
        compiled: set[int] = set()
        waiting: tuple[TaskID, float, int] | None = began(0)
        logged, iterator = time.monotonic(), iter(snapshots)
        while (snapshot := next(iterator, None)) is not None:
            if snapshot.stage not in tasks:
                if waiting is None or (snapshot.stage and not tasks):  # resumed in a later stage
                    bar.update(waiting[0], visible=False) if waiting else None
                    waiting = began(snapshot.stage)
                tasks[snapshot.stage] = (waiting[0], time.monotonic(), snapshot.step)
                waiting = None
            task, start, first = tasks[snapshot.stage]
            done = snapshot.step - first
            if done and snapshot.stage not in compiled:  # the first steps compiled: the pace counts from here
                compiled.add(snapshot.stage)
                tasks[snapshot.stage] = (task, time.monotonic(), snapshot.step)
                done = 0
            seconds = (time.monotonic() - start) / done if done else None
            left = None if seconds is None else time_left(recipe, snapshot.stage, snapshot.step, seconds)
            pace = "" if seconds is None or left is None else f"{seconds:.2f} s/step {span(left)} left"
            line = losses_line(snapshot, recipe)
            bar.update(task, total=snapshot.steps, completed=snapshot.step, pace=pace, losses=cut(line, room))
            last = snapshot.step == snapshot.steps
            if not console.is_terminal and (last or time.monotonic() - logged > LOG_SECONDS):
                logged = time.monotonic()
                console.print(f"stage {snapshot.stage + 1}/{stages} step {snapshot.step}/{snapshot.steps} "
                              f"{pace} {line}")
            yield snapshot, left
            if last and snapshot.stage + 1 < stages and waiting is None:
                waiting = began(snapshot.stage + 1)


def show_sweep(progress: Iterable[SweepProgress], lanes: int, console: Console) -> int:
    """Consumes a sweep and shows it; returns how many steps of lanes were made."""
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=12),
               TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn(),
               TextColumn("{task.fields[left]} {task.fields[pace]}"),
               TextColumn("{task.fields[losses]}", style="dim", markup=False))
    began, first, logged, made, compiled = time.monotonic(), None, 0.0, 0, set()
    with Progress(*columns, console=console, disable=not console.is_terminal, refresh_per_second=4) as bar:
        task = bar.add_task("compiling …", total=None, left="", pace="", losses="")
        for at in progress:
            now = time.monotonic()
            if at.group not in compiled:
                compiled.add(at.group)
                console.print(group_line(at), highlight=False, soft_wrap=True)
            first = (now, at.done) if first is None else first
            made = at.done - first[1]
            speed = made / (now - first[0]) if made else 0.0
            left = f"{clock((at.total - at.done) / speed)} left" if speed else ""
            pace = f"{1 / speed:.2f} s per lane and step" if speed else ""
            finished = min(lanes, at.finished)
            what = f"lanes {finished}/{lanes} done, {len(at.runs)} running"
            bar.update(task, description=what, total=at.total, completed=at.done, left=left, pace=pace,
                       losses=loss_range(at))
            if not console.is_terminal and (now - logged > LOG_SECONDS or at.done == at.total):
                logged = now
                console.print(f"{what} · {100 * at.done / max(1, at.total):.0f} % · "
                              f"{clock(now - began)} · {left} · {pace} · {loss_range(at)}",
                              highlight=False, soft_wrap=True)
    return made


def group_line(at: SweepProgress) -> str:
    """Device, size and memory of a group's program, in one line."""
    _, height, width, _ = at.snapshot.images.shape
    cores = f", {os.cpu_count()} cores" if jax.default_backend() == "cpu" else ""
    devices = f" × {jax.local_device_count()}" if jax.local_device_count() > 1 else ""
    return (f"program {at.group + 1}/{at.groups}: {device_name()}{devices}{cores} · "
            f"first {width}×{height} pixels · {len(at.runs)} lane{'s' * (len(at.runs) > 1)} at once · "
            f"about {at.snapshot.memory / 2**20:,.0f} MiB · ready in {at.snapshot.compile_seconds:.1f} s")


def loss_range(at: SweepProgress) -> str:
    """The range of total losses over the lanes that run."""
    values = best_losses(at)
    if not len(values):
        return "no finite loss"
    return f"loss {values.min():.3g}" + (f" … {values.max():.3g}" if len(values) > 1 else "")


def best_losses(at: SweepProgress) -> np.ndarray:
    """The finite ones of the best losses of the lanes that run."""
    values: np.ndarray = np.asarray(at.snapshot.search.best.value)[: len(at.runs)]
    finite: np.ndarray = values[np.isfinite(values)]
    return finite


def clock(seconds: float) -> str:
    """Minutes and seconds, or hours and minutes."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d} h" if minutes >= 60 else f"{minutes}:{rest:02d}"
