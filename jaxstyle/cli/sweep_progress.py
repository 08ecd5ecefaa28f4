"""What a sweep looks like in a terminal: one live line over all lanes; a line now and then elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from jaxstyle.runs.manifest import device_name
from jaxstyle.sweeps.batches import Progress

LOG_SECONDS = 10.0


def show(progress: Iterable[Progress], lanes: int, console: Console) -> int:
    """Consumes a sweep and shows it; returns how many steps of lanes were made."""
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=12),
               TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn(),
               TextColumn("{task.fields[left]} {task.fields[pace]}"),
               TextColumn("{task.fields[losses]}", style="dim", markup=False))
    began, first, logged, made, compiled = time.monotonic(), None, 0.0, 0, set()
    with Bar(*columns, console=console, disable=not console.is_terminal, refresh_per_second=4) as bar:
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
            what = f"lanes {finished}/{lanes} done, {len(at.lanes)} running"
            bar.update(task, description=what, total=at.total, completed=at.done, left=left, pace=pace,
                       losses=losses_line(at))
            if not console.is_terminal and (now - logged > LOG_SECONDS or at.done == at.total):
                logged = now
                console.print(f"{what} · {100 * at.done / max(1, at.total):.0f} % · "
                              f"{clock(now - began)} · {left} · {pace} · {losses_line(at)}",
                              highlight=False, soft_wrap=True)
    return made


def group_line(at: Progress) -> str:
    """Device, size and memory of a group's program, in one line."""
    _, height, width, _ = at.snapshot.images.shape
    cores = f", {os.cpu_count()} cores" if jax.default_backend() == "cpu" else ""
    devices = f" × {jax.local_device_count()}" if jax.local_device_count() > 1 else ""
    return (f"program {at.group + 1}/{at.groups}: {device_name()}{devices}{cores} · "
            f"first {width}×{height} pixels · {len(at.lanes)} lane{'s' * (len(at.lanes) > 1)} at once · "
            f"about {at.snapshot.memory / 2**20:,.0f} MiB · ready in {at.snapshot.compile_seconds:.1f} s")


def losses_line(at: Progress) -> str:
    """The range of total losses over the lanes that run."""
    values = np.asarray(at.snapshot.search.best.value)
    return f"loss {values.min():.3g}" + (f" … {values.max():.3g}" if len(values) > 1 else "")


def clock(seconds: float) -> str:
    """Minutes and seconds, or hours and minutes."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d} h" if minutes >= 60 else f"{minutes}:{rest:02d}"
