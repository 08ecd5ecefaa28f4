"""A local page that asks which of two results somebody prefers.

It serves this machine alone, as the page of `cli.console.preview` does, and needs nothing from the network.
Which result is which stands nowhere in what it sends: pictures have the question's id as their address, and
are encoded anew.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any

from jaxstyle.cli.console.preview import HOST, POLICY, jpeg
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import load
from jaxstyle.report.votes import Question, cast

MOST_BYTES = 4096
"""Of a vote as the page sends it."""


class Poll:
    """The questions to one voter: what was answered, and the next one."""

    def __init__(self, asked: Sequence[Question], folder: Path, voter: str, answered: set[str]) -> None:
        self.asked = {question.id: question for question in asked}
        self.folder, self.voter = folder, voter
        self.answered = answered & self.asked.keys()
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.port = 0

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.port}"

    def vote(self, name: str, choice: str) -> None:
        """Record an answer, unless the question has one."""
        with self.lock:
            if name not in self.answered:
                cast(self.folder, self.asked[name], self.voter, choice)
                self.answered.add(name)

    def state(self) -> dict[str, Any]:
        """What the page shows next."""
        waiting = [question for name, question in self.asked.items() if name not in self.answered]
        told: dict[str, Any] = {"done": len(self.answered), "of": len(self.asked), "question": None}
        if waiting:
            about = waiting[0].left
            told["question"] = {"id": waiting[0].id, "photo": about.photo is not None,
                                "paintings": len(about.paintings)}
        return told

    def picture(self, name: str, which: str) -> Path | None:
        """The file of a picture of a question: left, right, photo, painting0 and so on."""
        question = self.asked.get(name)
        if question is None:
            return None
        shown = {"left": question.left.image, "right": question.right.image, "photo": question.left.photo}
        shown |= {f"painting{i}": path for i, path in enumerate(question.left.paintings)}
        return shown.get(which)


@contextmanager
def serving(poll: Poll, port: int) -> Iterator[Poll]:
    """Serves the page at http://127.0.0.1:`port` while the block runs; 0 takes any free port.

    Raises:
      JaxstyleError: the port is out of range or taken.
    """
    if not 0 <= port <= 65535:
        raise JaxstyleError(f"--port takes a number from 0 to 65535, not {port}")
    try:
        server = ThreadingHTTPServer((HOST, port), handler_for(poll, secrets.token_urlsafe()))
    except OSError as error:
        raise JaxstyleError(f"--port {port}: {error.strerror or error}; use another port") from None
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    poll.port = server.server_address[1]
    try:
        yield poll
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def handler_for(poll: Poll, token: str) -> type[BaseHTTPRequestHandler]:
    """The class that answers requests; `token` is what a page that we sent knows and others do not."""
    page = files("jaxstyle.cli.voting").joinpath("vote.html").read_text("utf-8").replace("TOKEN",
    token).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.trusted():
                self.answer(HTTPStatus.FORBIDDEN, b"only for this machine")
            elif self.path == "/":
                self.answer(HTTPStatus.OK, page, "text/html; charset=utf-8")
            elif self.path == "/state.json":
                self.tell(HTTPStatus.OK, poll.state())
            elif self.path.startswith("/picture/"):
                self.show(self.path.removeprefix("/picture/"))
            else:
                self.answer(HTTPStatus.NOT_FOUND, b"there is nothing here")

        def do_POST(self) -> None:
            known = secrets.compare_digest(self.headers.get("X-Jaxstyle", ""), token)
            if not self.trusted() or not known:
                self.answer(HTTPStatus.FORBIDDEN, b"only for the page itself")
            elif self.path == "/stop":
                self.answer(HTTPStatus.OK, b"stopping")
                poll.over.set()
            elif self.path == "/vote":
                self.count()
            else:
                self.answer(HTTPStatus.NOT_FOUND, b"there is nothing here")

        def count(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isascii() or not length.isdigit() or int(length) > MOST_BYTES:
                self.answer(HTTPStatus.BAD_REQUEST, b"no vote")
                return
            try:
                said = json.loads(self.rfile.read(int(length)))
                poll.vote(str(said["id"]), str(said["choice"]))
            except (ValueError, KeyError, TypeError):
                self.answer(HTTPStatus.BAD_REQUEST, b"no vote")
            except JaxstyleError as error:
                self.tell(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": str(error)})
            else:
                self.tell(HTTPStatus.OK, poll.state())

        def show(self, place: str) -> None:
            path = poll.picture(*place.split("/")) if place.count("/") == 1 else None
            if path is None:
                self.answer(HTTPStatus.NOT_FOUND, b"no such picture")
                return
            try:
                self.answer(HTTPStatus.OK, jpeg(load(path)), "image/jpeg")
            except JaxstyleError as error:
                self.answer(HTTPStatus.INTERNAL_SERVER_ERROR, str(error).encode(errors="backslashreplace"))

        def trusted(self) -> bool:
            """Whether the request names this machine; one that a foreign page had a browser make does not."""
            name = self.headers.get("Host", "").rsplit(":", 1)[0]
            return name in (HOST, "localhost")

        def tell(self, status: HTTPStatus, what: Any) -> None:
            self.answer(status, json.dumps(what).encode(), "application/json")

        def answer(self, status: HTTPStatus, body: bytes, kind: str = "text/plain") -> None:
            self.send_response(status)
            for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))),
                                ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"),
                                ("Content-Security-Policy", POLICY)):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing on the terminal."""

    return Handler
