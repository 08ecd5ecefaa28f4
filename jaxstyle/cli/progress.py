"""What a run looks like in a terminal: one live line per stage; a line now and then where nobody watches."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

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


def shown(snapshots: Iterable[Snapshot], recipe: Recipe, console: Console) -> Iterator[Snapshot]:
    """Passes snapshots on, and shows each: stage, step, losses, seconds per step, time left."""
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(bar_width=16),
        TextColumn("{task.completed:.0f}/{task.fields[of]}"), TextColumn("{task.fields[pace]}"),
        TimeRemainingColumn(compact=True), TextColumn("{task.fields[losses]}", style="dim", markup=False),
    )
    room, stages = console.width - OTHER_COLUMNS, len(recipe.stages)
    with Progress(*columns, console=console, disable=not console.is_terminal, refresh_per_second=4) as bar:
        def began(stage: int) -> tuple[TaskID, float, int]:
            label = f"stage {stage + 1}/{stages}"
            task = bar.add_task(label, total=None, pace="", of=recipe.stages[stage].steps,
                                losses="compiling …")
            return task, time.monotonic(), 0

        tasks: dict[int, tuple[TaskID, float, int]] = {}
        logged, waiting, iterator = time.monotonic(), began(0), iter(snapshots)
        while (snapshot := next(iterator, None)) is not None:
            if snapshot.stage not in tasks:
                if waiting is None or (snapshot.stage and not tasks):  # resumed in a later stage
                    bar.update(waiting[0], visible=False) if waiting else None
                    waiting = began(snapshot.stage)
                tasks[snapshot.stage] = (waiting[0], time.monotonic(), snapshot.step)
                waiting = None
            task, start, first = tasks[snapshot.stage]
            done = snapshot.step - first
            pace = f"{(time.monotonic() - start) / done:.2f} s/step" if done else ""
            line = losses_line(snapshot, recipe)
            bar.update(task, total=snapshot.steps, completed=snapshot.step, pace=pace, losses=cut(line, room))
            last = snapshot.step == snapshot.steps
            if not console.is_terminal and (last or time.monotonic() - logged > LOG_SECONDS):
                logged = time.monotonic()
                console.print(f"stage {snapshot.stage + 1}/{stages} step {snapshot.step}/{snapshot.steps} "
                              f"{pace} {line}")
            yield snapshot
            if last and snapshot.stage + 1 < stages and waiting is None:
                waiting = began(snapshot.stage + 1)
