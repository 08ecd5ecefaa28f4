"""A local page that asks which of two results somebody prefers.

Which result is which stands nowhere in what it sends: pictures have the question's id as their address, and
are encoded anew.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Any

from jaxstyle.cli.console.local import HOST, LocalPage, jpeg, served
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


class Ballot(LocalPage):
    """What the page of a poll asks for."""

    poll: Poll

    def get(self, path: str) -> None:
        """The next question as JSON, or a picture of a question."""
        kind, _, place = path.strip("/").partition("/")
        if path == "/state.json":
            self.tell(HTTPStatus.OK, self.poll.state())
        elif kind == "picture" and place.count("/") == 1 and (file := self.poll.picture(*place.split("/"))):
            self.show(file)
        else:
            super().get(path)

    def post(self, path: str) -> None:
        """Count a vote, or stop."""
        if path == "/stop":
            self.answer(HTTPStatus.OK, b"stopping")
            self.poll.over.set()
        elif path == "/vote":
            self.count()
        else:
            super().post(path)

    def count(self) -> None:
        """Record the vote that was sent; tells the next question."""
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or int(length) > MOST_BYTES:
            self.answer(HTTPStatus.BAD_REQUEST, b"no vote")
            return
        try:
            said = json.loads(self.rfile.read(int(length)))
            self.poll.vote(str(said["id"]), str(said["choice"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            self.answer(HTTPStatus.BAD_REQUEST, b"no vote")
        except JaxstyleError as error:
            self.tell(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": str(error)})
        else:
            self.tell(HTTPStatus.OK, self.poll.state())

    def show(self, path: Path) -> None:
        """Send a picture."""
        try:
            self.answer(HTTPStatus.OK, jpeg(load(path)), "image/jpeg")
        except JaxstyleError as error:
            self.answer(HTTPStatus.INTERNAL_SERVER_ERROR, str(error).encode(errors="backslashreplace"))


@contextmanager
def serving(poll: Poll, port: int) -> Iterator[Poll]:
    """Serves the page while the block runs, see `served`.

    Raises:
      JaxstyleError: the port is out of range or taken.
    """
    page = files("jaxstyle.cli.voting").joinpath("vote.html").read_text("utf-8")
    with served(Ballot, page, port, "--port", poll=poll) as poll.port:
        yield poll
