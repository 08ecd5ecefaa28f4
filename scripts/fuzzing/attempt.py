"""One attack: a command with its arguments, and what may be wrong with how it took them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import signal
import traceback
import warnings
from collections.abc import Iterator
from typing import Any
from unittest import mock

from fuzzing.place import GIVEN, Place
from jaxstyle.cli.main import answered

CASE_SECONDS, CPU_SECONDS = 300, 60  # a machine may have much else to do


class Late(BaseException):
    """A case takes too long."""


@contextlib.contextmanager
def no_runs() -> Iterator[None]:
    """Commands end where their run would begin."""

    def ended(*_: Any, **__: Any) -> Iterator[Any]:
        return iter(())

    patches = {
        "jaxstyle.cli.stylize.render": lambda *_: 0, "jaxstyle.cli.replay.render": lambda *_: 0,
        "jaxstyle.cli.maps.render": lambda *_: 0, "jaxstyle.sweeps.runner.batches": ended,
        "jaxstyle.cli.tune.tune": ended, "jaxstyle.report.plots.write_figure": lambda *_: None,
        "jaxstyle.report.page.write_figure": lambda *_: None,
        "jaxstyle.cli.apply.restyled": lambda model, image, look: image,
        "jaxstyle.cli.models.exported": lambda *_, **__: 0.0,
        "jaxstyle.cli.train.make_task": lambda *_: None, "jaxstyle.cli.train.run": ended,
        "jaxstyle.cli.video.finish": lambda *_: None,
    }
    with contextlib.ExitStack() as stack:
        for name, stand_in in patches.items():
            stack.enter_context(mock.patch(name, stand_in))
        yield


def attempt(arguments: list[str], place: Place) -> str:
    """What is wrong with how a command took its arguments; "" if nothing is."""
    before = {name: hashlib.sha256((place.folder / name).read_bytes()).hexdigest() for name in GIVEN}
    said, printed = io.StringIO(), io.StringIO()

    def late(*_: Any) -> None:
        raise Late

    old = signal.signal(signal.SIGALRM, late), signal.signal(signal.SIGVTALRM, late)
    signal.alarm(CASE_SECONDS)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
    code: Any = None
    try:
        with (
            contextlib.redirect_stderr(said),
            contextlib.redirect_stdout(printed),
            no_runs(),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            code = answered(arguments)
    except Late:
        return "hangs"
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # noqa: BLE001  that is what is looked for
        return "".join(traceback.format_exc().splitlines(keepends=True)[-6:])
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGALRM, old[0])
        signal.signal(signal.SIGVTALRM, old[1])
    errors = [line for line in said.getvalue().splitlines() if line.startswith(("error:", "left out:"))]
    wild = re.findall(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", re.sub(r"\x1b\[[0-9;]*m", "", said.getvalue()))
    problems = {
        f"exit code {code}": code not in ((0, 1, 2) if arguments[:2] == ["maps", "check"] else (0, 2)),
        "no line of error": code == 2 and len(errors) != 1,
        "control characters": wild,
        "a half-written file": list(place.folder.rglob(".jaxstyle-*.tmp")),
        "an input was changed": before
        != {name: hashlib.sha256((place.folder / name).read_bytes()).hexdigest() for name in GIVEN},
    }
    return "; ".join(problem for problem, found in problems.items() if found) + (
        f": {said.getvalue()[:300]!r}" if any(problems.values()) else ""
    )
