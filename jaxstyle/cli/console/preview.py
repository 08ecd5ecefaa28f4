"""A local page that shows a run as it goes: pictures, losses, time left, and a button that stops and saves.

Pictures are read only when somebody looks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from jaxstyle.cli.console.local import HOST, LocalPage, jpeg, served
from jaxstyle.images.files import load

POINTS = 500
"""Of the curve, at most."""


@dataclass(frozen=True)
class View:
    """What the page shows.

    Attributes:
      title; status: "running", "stopping", "finished", "stopped"; step, steps: done and in all.
      button: what the button that stops says.
      left: seconds, None while unknown; losses: name -> now; curve: the total so far.
      pictures: what grows, name -> `[H, W, 3]` in [0, 1], its file, or a function that makes it when
        somebody looks; references: what it grows from.
      versions: of each picture; another one when it has changed.
    """

    title: str = "jaxstyle"
    status: str = "running"
    button: str = "Stop and save"
    step: int = 0
    steps: int = 0
    left: float | None = None
    losses: Mapping[str, float] = field(default_factory=dict)
    curve: tuple[float, ...] = ()
    pictures: Mapping[str, Any] = field(default_factory=dict)
    references: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """All but the pictures themselves, ready for JSON."""
        names = "title", "status", "button", "step", "steps", "left", "versions"
        keep = {name: getattr(self, name) for name in names}
        thinned = self.curve[:: max(1, len(self.curve) // POINTS)]
        numbers = {name: value for name, value in self.losses.items() if np.isfinite(value)}
        return {**keep, "losses": numbers, "curve": [v for v in thinned if np.isfinite(v)],
                "pictures": list(self.pictures), "references": list(self.references)}


class Live:
    """The page's end inside the program: `update` what it shows, and ask whether to `stop`."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.port = 0
        self.watched = False
        self.stop = threading.Event()

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.port}"

    def update(self, step: int, losses: Mapping[str, float], pictures: Mapping[str, Any], **more: Any
               ) -> None:
        """Show a step; `more` are other fields of `View`."""
        total = (losses["total"],) if "total" in losses else ()
        before = self.view
        versions = {name: before.versions.get(name, 0) + (not same(before.pictures.get(name), picture))
                    for name, picture in pictures.items()}
        self.view = replace(before, **{"curve": (*before.curve, *total), **more}, step=step,
                            losses=dict(losses), pictures=dict(pictures), versions=versions)

    def end(self, status: str) -> None:
        """Say how it ended."""
        self.view = replace(self.view, status=status, left=None)


def same(old: Any, new: Any) -> bool:
    """Whether two pictures of a `View` are one: the same object, or the same file."""
    return old is new or (isinstance(new, Path) and old == new)


class Preview(LocalPage):
    """What the page of a run asks for."""

    live: Live

    def get(self, path: str) -> None:
        """The state as JSON, or a picture."""
        view = self.live.view
        image = {**view.references, **view.pictures}.get(unquote(path.removeprefix("/picture/")))
        if path == "/view.json":
            self.live.watched = True
            self.tell(HTTPStatus.OK, view.to_json())
        elif path.startswith("/picture/") and image is not None:
            shown = load(image) if isinstance(image, Path) else image() if callable(image) else image
            self.answer(HTTPStatus.OK, jpeg(shown), "image/jpeg")
        else:
            super().get(path)

    def post(self, path: str) -> None:
        """Stop and save."""
        if path != "/stop":
            super().post(path)
            return
        self.live.stop.set()
        self.live.view = replace(self.live.view, status="stopping")
        self.answer(HTTPStatus.OK, b"stopping")


@contextmanager
def preview(port: int, view: View) -> Iterator[Live]:
    """Serves the page while the block runs, see `served`; an open one is told for a second how it ended.

    Raises:
      JaxstyleError: the port is out of range or taken.
    """
    live = Live(view)
    page = files("jaxstyle.cli.console").joinpath("preview.html").read_text("utf-8")
    with served(Preview, page, port, "--preview", live=live) as live.port:
        try:
            yield live
        finally:
            if live.view.status in ("running", "stopping"):
                live.end("stopped")
            if live.watched:
                time.sleep(1)  # an open page asks once more, and sees the end


def run_page(port: int | None, title: str, references: Any, console: Any
             ) -> AbstractContextManager[Live | None]:
    """A page for a run from its reference images (a `References`), or none if there is no port."""
    shown = {"photo": references.content} if references.content is not None else {}
    several = len(references.styles) > 1
    shown |= {f"painting {i + 1}" if several else "painting": style
              for i, style in enumerate(references.styles)}
    return live_page(port, View(title=title, references=shown), console)


@contextmanager
def live_page(port: int | None, view: View, console: Any) -> Iterator[Live | None]:
    """A page that begins with a view, or none if there is no port."""
    if port is None:
        yield None
        return
    with preview(port, view) as live:
        console.print(f"watch it grow at {live.address}", highlight=False, soft_wrap=True)
        yield live
