"""Sweeps and trainings on the live page; its button stops them as Ctrl-C does."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console

from jaxstyle.cli.console.interrupts import Interrupted
from jaxstyle.cli.console.preview import Live, page
from jaxstyle.fast.training.folder import Progress as Trained
from jaxstyle.fast.training.folder import newest_samples
from jaxstyle.sweeps.batches import Progress, Running, shown
from jaxstyle.sweeps.folder import IMAGE
from jaxstyle.sweeps.plan import Lane
from jaxstyle.sweeps.trainings import Progress as LanesTrained

P = TypeVar("P", Trained, LanesTrained)


def sweep_on_page(progress: Iterable[Progress], live: Live | None) -> Iterator[Progress]:
    """Passes progress on and shows it: every lane's picture so far, the range of losses, and the end.

    Raises:
      KeyboardInterrupt: the page's button was pressed.
    """
    pictures: dict[str, Any] = {}
    running: tuple[Running, ...] = ()
    began, first = time.monotonic(), None
    for at in progress:
        yield at
        if live is None:
            continue
        first = at.done if first is None else first
        for run in running:
            if run.index not in at.lanes and (run.folder / IMAGE).exists():
                pictures[lane_name(run)] = run.folder / IMAGE
        running = at.runs
        pictures.update((lane_name(run), partial(shown, run, at.snapshot.images[i], at.snapshot.stage))
                        for i, run in enumerate(running))
        speed = (at.done - first) / (time.monotonic() - began)
        live.update(at.done, losses_of(at), pictures, steps=at.total,
                    left=(at.total - at.done) / speed if speed else None)
        if live.stop.is_set():
            raise KeyboardInterrupt
    if live is not None:
        live.end("finished")


@contextmanager
def preview_page(port: int | None, title: str, lanes: Sequence[Lane], console: Console
                 ) -> Iterator[Live | None]:
    """A page for a sweep, with the pictures that its lanes are made from, or none if there is no port."""
    files = dict.fromkeys(path for lane in lanes for path in (lane.files.content, *lane.files.styles) if path)
    shown = {Path(path).name: Path(path) for path in files} if port is not None else {}
    with page(port, title, shown, console) as live:
        yield live


def lane_name(run: Running) -> str:
    """What a lane's picture is called."""
    return lane_text(run.index, run.lane.labels)


def lane_text(index: int, labels: Mapping[str, str]) -> str:
    """A lane in words: its number, and where on each axis it is."""
    words = ", ".join(f"{name} {label}" for name, label in labels.items())
    return f"{index}: {words}" if words else str(index)


def losses_of(at: Progress) -> dict[str, float]:
    """The least and the greatest loss of the lanes that run."""
    values = np.asarray(at.snapshot.search.best.value)[: len(at.runs)]
    return {"total": float(values.min()), **({"greatest": float(values.max())} if len(values) > 1 else {})}


def training_on_page(progress: Iterable[P], folders: Mapping[str, Path], live: Live | None, stop: Interrupted
                     ) -> Iterator[P]:
    """Passes progress on and shows it: the newest samples in each of the folders, the losses, the end."""
    for step in progress:
        yield step
        if live is None:
            continue
        found = {name: newest_samples(folder) for name, folder in folders.items()}
        live.update(step.report.step, {name: float(np.mean(value)) for name, value in
                                       step.report.losses.items()},
                    {name: path for name, path in found.items() if path}, steps=step.total,
                    left=step.seconds_left)
        if live.stop.is_set():
            stop.signal = signal.SIGINT
    if live is not None and not stop:
        live.end("finished")
