"""A local page that shows a run as it goes: pictures, losses, time left, and a button that stops and saves.

It serves this machine alone (127.0.0.1, and requests that name it so), needs nothing from the network, and
reads pictures only when somebody looks.
"""

from __future__ import annotations

import io
import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from PIL import Image

from jaxstyle.errors import JaxstyleError

HOST = "127.0.0.1"
LONGEST = 1024
"""Longer side of the pictures that are sent, at most."""
POLICY = "default-src 'self' 'unsafe-inline'; img-src 'self'; frame-ancestors 'none'"
POINTS = 500
"""Of the curve, at most."""


@dataclass(frozen=True)
class View:
    """What the page shows.

    Attributes:
      title, status: "running", "finished", "stopped"; step, steps: done and in all.
      left: seconds, None while unknown; losses: name -> now; curve: the total so far.
      pictures: what grows, name -> `[H, W, 3]` in [0, 1], or a function that makes it when somebody looks;
        references: what it grows from.
      version: rises with every change of the pictures.
    """

    title: str = "jaxstyle"
    status: str = "running"
    step: int = 0
    steps: int = 0
    left: float | None = None
    losses: Mapping[str, float] = field(default_factory=dict)
    curve: tuple[float, ...] = ()
    pictures: Mapping[str, Any] = field(default_factory=dict)
    references: Mapping[str, Any] = field(default_factory=dict)
    version: int = 0

    def to_json(self) -> bytes:
        """All but the pictures themselves."""
        keep = {name: getattr(self, name) for name in ("title", "status", "step", "steps", "left", "version")}
        thinned = self.curve[:: max(1, len(self.curve) // POINTS)]
        numbers = {name: value for name, value in self.losses.items() if np.isfinite(value)}
        return json.dumps({**keep, "losses": numbers, "curve": [v for v in thinned if np.isfinite(v)],
                           "pictures": list(self.pictures), "references": list(self.references)}).encode()


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
        self.view = replace(self.view, **{"curve": (*self.view.curve, *total), **more},
                            step=step, losses=dict(losses), pictures=dict(pictures),
                            version=self.view.version + 1)

    def end(self, status: str) -> None:
        """Say how it ended."""
        self.view = replace(self.view, status=status, left=None)


@contextmanager
def preview(port: int, view: View) -> Iterator[Live]:
    """Serves the page at http://127.0.0.1:`port` while the block runs; 0 takes any free port.

    The page is told how it ended for a second more if it is open.

    Raises:
      JaxstyleError: the port is out of range or taken.
    """
    if not 0 <= port <= 65535:
        raise JaxstyleError(f"--preview takes a port from 1 to 65535, not {port}")
    live = Live(view)
    try:
        server = ThreadingHTTPServer((HOST, port), handler_for(live, secrets.token_urlsafe()))
    except OSError as error:
        raise JaxstyleError(f"--preview {port}: {error.strerror or error}; use another port") from None
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    live.port = server.server_address[1]
    try:
        yield live
    finally:
        if live.view.status == "running":
            live.end("stopped")
        if live.watched:
            time.sleep(1)  # an open page asks once more, and sees the end
        server.shutdown()
        server.server_close()
        thread.join()


def handler_for(live: Live, token: str) -> type[BaseHTTPRequestHandler]:
    """The class that answers requests; `token` is what a page that we sent knows and others do not."""
    page = files("jaxstyle.cli.console").joinpath("preview.html").read_text().replace("TOKEN", token).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            view, path = live.view, urlsplit(self.path).path
            if not self.trusted():
                self.answer(HTTPStatus.FORBIDDEN, b"only for this machine")
            elif path == "/":
                self.answer(HTTPStatus.OK, page, "text/html; charset=utf-8")
            elif path == "/view.json":
                live.watched = True
                self.answer(HTTPStatus.OK, view.to_json(), "application/json")
            elif path.startswith("/picture/"):
                image = {**view.references, **view.pictures}.get(unquote(path.removeprefix("/picture/")))
                if image is None:
                    self.answer(HTTPStatus.NOT_FOUND, b"no such picture")
                else:
                    self.answer(HTTPStatus.OK, jpeg(image() if callable(image) else image), "image/jpeg")
            else:
                self.answer(HTTPStatus.NOT_FOUND, b"there is nothing here")

        def do_POST(self) -> None:
            known = secrets.compare_digest(self.headers.get("X-Jaxstyle", ""), token)
            if not self.trusted() or not known or self.path != "/stop":
                self.answer(HTTPStatus.FORBIDDEN, b"only for the page itself")
                return
            live.stop.set()
            self.answer(HTTPStatus.OK, b"stopping")

        def trusted(self) -> bool:
            """Whether the request names this machine; one that a foreign page had a browser make does not."""
            name = self.headers.get("Host", "").rsplit(":", 1)[0]
            return name in (HOST, "localhost")

        def answer(self, status: HTTPStatus, body: bytes, kind: str = "text/plain") -> None:
            self.send_response(status)
            for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))),
                                ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"),
                                ("Content-Security-Policy", POLICY)):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing on the terminal, where the progress is."""

    return Handler


def jpeg(image: Any) -> bytes:
    """A picture `[H, W, 3]` in [0, 1] as a small JPEG file."""
    pixels = np.rint(np.clip(np.nan_to_num(np.asarray(image)), 0, 1) * 255).astype(np.uint8)
    picture, buffer = Image.fromarray(pixels), io.BytesIO()
    picture.thumbnail((LONGEST, LONGEST))
    picture.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


@contextmanager
def watched(port: int | None, title: str, references: Any, console: Any) -> Iterator[Live | None]:
    """A page for a run from its reference images (a `References`), or none if there is no port."""
    if port is None:
        yield None
        return
    shown = {"photo": references.content} if references.content is not None else {}
    several = len(references.styles) > 1
    shown |= {f"painting {i + 1}" if several else "painting": style
              for i, style in enumerate(references.styles)}
    with preview(port, View(title=title, references=shown)) as live:
        console.print(f"watch it grow at {live.address}", highlight=False, soft_wrap=True)
        yield live
