"""What a run looks like in a terminal: one live line per stage; a line now and then where nobody watches."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from jaxstyle.transfer.loop import Snapshot
from jaxstyle.transfer.recipe import Recipe

LOG_SECONDS = 10.0


def losses_line(snapshot: Snapshot) -> str:
    """Total loss and its parts, short."""
    if not snapshot.losses:
        return ""
    return " ".join(f"{name} {values[-1]:.3g}" for name, values in snapshot.losses.items())


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
        TextColumn("{task.description}"), BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"), TextColumn("{task.fields[pace]}"),
        TextColumn("[dim]{task.fields[losses]}"),
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
            seconds = (time.monotonic() - began) / done if done else None
            left, pace = None, ""
            if seconds is not None:
                left = time_left(recipe, snapshot.stage, snapshot.step, seconds)
                pace = f"{seconds:.2f} s/step, {span(left)} left in all"
            line = losses_line(snapshot)
            bar.update(task, completed=snapshot.step, pace=pace, losses=line)
            last = snapshot.step == snapshot.steps
            if not console.is_terminal and (last or time.monotonic() - logged > LOG_SECONDS):
                logged = time.monotonic()
                console.print(f"stage {snapshot.stage + 1}/{len(recipe.stages)} "
                              f"step {snapshot.step}/{snapshot.steps} {pace} {line}", soft_wrap=True)
            yield snapshot, left
