"""Pages of this machine alone, which people look at while a command runs.

They need nothing from the network, answer only requests that name this machine (so that no foreign page can
have a browser make them), and change something only for a page that was sent from here and knows the token.
"""

from __future__ import annotations

import io
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from jaxstyle.errors import JaxstyleError

HOST = "127.0.0.1"
LONGEST = 1024
"""Longer side of the pictures that are sent, at most."""
POLICY = "default-src 'self' 'unsafe-inline'; img-src 'self'; frame-ancestors 'none'"


class LocalPage(BaseHTTPRequestHandler):
    """Answers the page itself and refuses who must not ask; a page overrides `get` and `post`."""

    page: bytes
    token: str

    def do_GET(self) -> None:
        """The page, or what `get` has."""
        path = urlsplit(self.path).path
        if not self.trusted():
            self.answer(HTTPStatus.FORBIDDEN, b"only for this machine")
        elif path == "/":
            self.answer(HTTPStatus.OK, self.page, "text/html; charset=utf-8")
        else:
            self.get(path)

    def do_POST(self) -> None:
        """What `post` does, for the page itself."""
        if self.trusted() and secrets.compare_digest(self.headers.get("X-Jaxstyle", ""), self.token):
            self.post(self.path)
        else:
            self.answer(HTTPStatus.FORBIDDEN, b"only for the page itself")

    def get(self, path: str) -> None:
        """Answer a request for something else than the page."""
        self.answer(HTTPStatus.NOT_FOUND, b"there is nothing here")

    def post(self, path: str) -> None:
        """Do what the page asks for."""
        self.answer(HTTPStatus.NOT_FOUND, b"there is nothing here")

    def trusted(self) -> bool:
        """Whether the request names this machine."""
        return self.headers.get("Host", "").rsplit(":", 1)[0] in (HOST, "localhost")

    def tell(self, status: HTTPStatus, what: Any) -> None:
        """Answer with JSON."""
        self.answer(status, json.dumps(what).encode(), "application/json")

    def answer(self, status: HTTPStatus, body: bytes, kind: str = "text/plain") -> None:
        """Answer with bytes."""
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))),
                            ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"),
                            ("Content-Security-Policy", POLICY)):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing on the terminal, where the progress is."""


@contextmanager
def served(kind: type[LocalPage], page: str, port: int, flag: str, **attributes: Any) -> Iterator[int]:
    """Serves a page at http://127.0.0.1:`port` while the block runs; 0 takes any free port. Gives the port.

    Args:
      page: the HTML, in which TOKEN stands for the token; flag: the option that named the port, for messages.
      attributes: of `kind`, for its `get` and `post`.

    Raises:
      JaxstyleError: the port is out of range or taken.
    """
    if not 0 <= port <= 65535:
        raise JaxstyleError(f"{flag} takes a port from 0 (any that is free) to 65535, not {port}")
    token = secrets.token_urlsafe()
    told = {**attributes, "token": token, "page": page.replace("TOKEN", token).encode()}
    try:
        server = ThreadingHTTPServer((HOST, port), type(kind.__name__, (kind,), told))
    except OSError as error:
        raise JaxstyleError(f"{flag} {port}: {error.strerror or error}; use another port") from None
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def jpeg(image: Any) -> bytes:
    """A picture `[H, W, 3]` in [0, 1] as a small JPEG file."""
    pixels = np.rint(np.clip(np.nan_to_num(np.asarray(image)), 0, 1) * 255).astype(np.uint8)
    picture, buffer = Image.fromarray(pixels), io.BytesIO()
    picture.thumbnail((LONGEST, LONGEST))
    picture.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
