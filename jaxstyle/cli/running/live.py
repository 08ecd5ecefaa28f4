"""Sweeps on the live page; its button stops them as Ctrl-C does."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from jaxstyle.cli.console.preview import Live, View, live_page
from jaxstyle.cli.console.progress import best_losses
from jaxstyle.sweeps.batches import Progress, Running, shown
from jaxstyle.sweeps.folder import IMAGE
from jaxstyle.sweeps.plan import Lane
from jaxstyle.sweeps.program import Lanes


def sweep_on_page(progress: Iterable[Progress], live: Live | None) -> Iterator[Progress]:
    """Passes progress on and shows it: the picture of every lane that ran since, the least and the greatest
    loss, and the end.

    Raises:
      KeyboardInterrupt: the page's button was pressed.
    """
    if live is None:
        yield from progress
        return
    pictures: dict[str, Any] = {}
    seen: dict[str, Running] = {}
    began: tuple[float, int] | None = None
    for at in progress:
        yield at
        now = time.monotonic()
        began = began or (now, at.done)
        for name, run in seen.items():
            if run.index not in at.lanes and (run.folder / IMAGE).exists():
                pictures[name] = run.folder / IMAGE
        seen.update((lane_name(run), run) for run in at.runs)
        pictures.update((lane_name(run), partial(picture_of, run, at.snapshot, i))
                        for i, run in enumerate(at.runs))
        speed = (at.done - began[1]) / max(now - began[0], 1e-9)
        live.update(at.done, losses_of(at), pictures, steps=at.total,
                    left=(at.total - at.done) / speed if speed else None)
        if live.stop.is_set():
            raise KeyboardInterrupt
    live.end("finished")


def picture_of(run: Running, at: Lanes, place: int) -> np.ndarray:
    """The picture so far of the lane at a place of a batch."""
    return shown(run, at.images[place], at.stage)


def losses_of(at: Progress) -> dict[str, float]:
    """The least and the greatest loss of the lanes that run."""
    values = best_losses(at)
    if not len(values):
        return {}
    return {"total": float(values.min()), **({"greatest": float(values.max())} if len(values) > 1 else {})}


def lane_name(run: Running) -> str:
    """What a lane's picture is called."""
    return lane_text(run.index, run.lane.labels)


def lane_text(index: int, labels: Mapping[str, str]) -> str:
    """A lane in words: its number, and where on each axis it is."""
    words = ", ".join(f"{name} {label}" for name, label in labels.items())
    return f"{index}: {words}" if words else str(index)


def sweep_page(port: int | None, title: str, lanes: Sequence[Lane], console: Console
               ) -> AbstractContextManager[Live | None]:
    """A page for a sweep, with the pictures that its lanes are made from, or none if there is no port."""
    photos = dict.fromkeys(lane.files.content for lane in lanes if lane.files.content)
    paintings = dict.fromkeys(path for lane in lanes for path in lane.files.styles)
    pictures = {f"{kind} {Path(path).name}": Path(path)
                for kind, paths in (("photo", photos), ("painting", paintings)) for path in paths}
    view = View(title=title, button="Stop", references=pictures)  # it goes on from the last state saved
    return live_page(port, view, console)
