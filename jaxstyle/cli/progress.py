"""What a run looks like in a terminal: one live line per stage; a line now and then where nobody watches."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from jaxstyle.transfer.loop import Snapshot
from jaxstyle.transfer.recipe import Recipe

LOG_SECONDS = 10.0


def losses_line(snapshot: Snapshot) -> str:
    """Total loss and its parts, short."""
    if not snapshot.losses:
        return ""
    return " ".join(f"{name} {values[-1]:.3g}" for name, values in snapshot.losses.items())


def shown(snapshots: Iterable[Snapshot], recipe: Recipe, console: Console) -> Iterator[Snapshot]:
    """Passes snapshots on, and shows each: stage, step, losses, seconds per step, time left."""
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"), TextColumn("{task.fields[pace]}"),
        TimeRemainingColumn(compact=True), TextColumn("[dim]{task.fields[losses]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, refresh_per_second=4) as bar:
        tasks: dict[int, tuple] = {}
        logged = time.monotonic()
        for snapshot in snapshots:
            if snapshot.stage not in tasks:
                label = f"stage {snapshot.stage + 1}/{len(recipe.stages)}"
                task = bar.add_task(label, total=snapshot.steps, completed=snapshot.step, pace="", losses="")
                tasks[snapshot.stage] = (task, time.monotonic(), snapshot.step)
            task, began, first = tasks[snapshot.stage]
            done = snapshot.step - first
            pace = f"{(time.monotonic() - began) / done:.2f} s/step" if done else ""
            line = losses_line(snapshot)
            bar.update(task, completed=snapshot.step, pace=pace, losses=line)
            last = snapshot.step == snapshot.steps
            if not console.is_terminal and (last or time.monotonic() - logged > LOG_SECONDS):
                logged = time.monotonic()
                console.print(f"stage {snapshot.stage + 1}/{len(recipe.stages)} "
                              f"step {snapshot.step}/{snapshot.steps} {pace} {line}", soft_wrap=True)
            yield snapshot
