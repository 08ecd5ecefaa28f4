"""What making a video looks like in a terminal: one live line; a line now and then where nobody watches."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import jax
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from jaxstyle.runs.manifest import device_name
from jaxstyle.video.make import Job
from jaxstyle.video.request import Request
from jaxstyle.video.sequence import Painted

T = TypeVar("T")
LOG_SECONDS = 10.0


def headline(job: Job, request: Request, there: int) -> str:
    """Device, size, length and what paints, in one line."""
    cores = f", {os.cpu_count()} cores" if jax.default_backend() == "cpu" else ""
    by = f"model {request.model}" if request.model else f"weights {request.weights}"
    going_on = f" · going on after frame {there}" if there else ""
    sound = " · with sound" if job.sound and job.source.sounds else ""
    return (f"{device_name()}{cores} · {job.width}×{job.height} pixels · {len(job.source.times)} frames at "
            f"{float(job.source.rate):.4g} per second{sound} · {by}{going_on}")


def clock(seconds: float) -> str:
    """12 -> "0:12", 4000 -> "1:06:40"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def counted(items: Iterable[T], count: int, label: str, console: Console) -> Iterator[T]:
    """Passes items on, and shows how many there were, how fast they come, and the time left."""
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24),
               TextColumn("{task.completed:.0f}/{task.total:.0f}"), TextColumn("{task.fields[pace]}"))
    began, skipped, logged = time.monotonic(), 0, time.monotonic()
    with Progress(*columns, console=console, disable=not console.is_terminal, refresh_per_second=4) as bar:
        task = bar.add_task(label, total=count, pace="")
        for done, item in enumerate(items, 1):
            now = time.monotonic()
            if not getattr(item, "fresh", True):  # was there already
                skipped, began = done, now
            made = done - skipped
            each = (now - began) / made if made else 0.0
            pace = f"{1 / each:.3g} frames/s, {clock(each * (count - done))} left" if each else ""
            bar.update(task, completed=done, pace=pace)
            if not console.is_terminal and (done == count or now - logged > LOG_SECONDS):
                logged = now
                console.print(f"{label} {done}/{count} {pace}", highlight=False, soft_wrap=True)
            yield item


def shown(painted: Iterable[Painted], count: int, console: Console) -> Iterator[Painted]:
    """Passes frames on, and shows the progress."""
    return counted(painted, count, "frame", console)


def shown_passes(steps: Iterable[tuple[int, int]], passes: int, count: int, console: Console
                 ) -> Iterator[tuple[int, int]]:
    """Passes the steps of several sweeps on, and shows the progress."""
    return counted(steps, passes * count, f"frame of {passes} passes", console)
