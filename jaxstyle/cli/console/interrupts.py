"""Ctrl-C and SIGTERM: the work in hand is finished and kept, then the command ends, within seconds.

Python tells a program of a signal only between two of its own instructions; a compiler that is busy for a
minute does not come to one. So on the command line a thread of its own hears of the signal too
(`signal.set_wakeup_fd`), and if the command has not ended by itself soon after, says the last words and
ends it.
"""

from __future__ import annotations

import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended."""
GRACE_SECONDS = 3.0
# timeout(1) signals its child, then the group of both: that is one signal, not two.
ONE_SIGNAL_SECONDS = 0.5
AGAIN_SECONDS = 0.05
# What is raised in these is printed and forgotten: destructors, and JAX's callback of the garbage collector.
DEAF = ("__del__", "_xla_gc_callback")
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Interrupted:
    """Whether a signal came, which and when; whether it is only noted instead of raising; how long what is in
    hand may still take; and what to do if the process has to be ended."""

    signal: int = 0
    came: float = math.inf
    noting: bool = False
    grace: float = GRACE_SECONDS
    words: list[Callable[[], object]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.signal != 0

    def stop(self) -> None:
        """As if Ctrl-C had come."""
        self.signal, self.came = self.signal or signal.SIGINT, min(self.came, time.monotonic())

    @property
    def code(self) -> int:
        """Exit code of a command that a signal ended: 130 for Ctrl-C, 143 for SIGTERM; 0 without one."""
        return 128 + self.signal if self.signal else 0


_current: list[Interrupted] = []  # signals belong to the process, and so does what answers them


@contextmanager
def heeded(deadline: bool = False) -> Iterator[Interrupted]:
    """The first signal raises `KeyboardInterrupt` (see `noting_signals`), a second one too.

    Signals that are ignored stay so, as in the background of a shell; only the first thread can hear them.

    Args:
      deadline: `GRACE_SECONDS` after a signal the process ends, after the `last_words`.
    """
    found = Interrupted()
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    if threading.current_thread() is not threading.main_thread():
        heard = []

    def note(number: int, frame: FrameType | None) -> None:
        if not found.noting and deaf(frame):
            _send_again(number)
            return
        again, found.signal, now = bool(found), found.signal or number, time.monotonic()
        if again and now - found.came < ONE_SIGNAL_SECONDS:
            return
        found.came = min(found.came, now)
        if again or not found.noting:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, note) for number in heard}
    _current.append(found)
    try:
        with _listening(found) if deadline and heard else _nothing():
            yield found
    finally:
        _current.remove(found)
        for number, handler in before.items():
            signal.signal(number, handler)


def deaf(frame: FrameType | None) -> bool:
    """Whether an exception that is raised in a frame gets nowhere."""
    while frame is not None:
        if frame.f_code.co_name in DEAF:
            return True
        frame = frame.f_back
    return False


def _send_again(number: int) -> None:
    """The signal once more, when the first thread is somewhere else."""
    again = threading.Timer(AGAIN_SECONDS, signal.pthread_kill, (threading.main_thread().ident, number))
    again.daemon = True
    again.start()


@contextmanager
def noting_signals(grace: float = GRACE_SECONDS) -> Iterator[Interrupted]:
    """Notes the first Ctrl-C or SIGTERM instead of raising; the second raises `KeyboardInterrupt`.

    Args:
      grace: seconds that the work in hand may take after the first.
    """
    with heeded() if not _current else _nothing(_current[-1]) as found:
        before = found.noting, found.grace
        found.noting, found.grace = True, grace
        try:
            yield found
        finally:
            found.noting, found.grace = before


@contextmanager
def last_words(say: Callable[[], object]) -> Iterator[None]:
    """What to do if a signal has to end the process meanwhile: `say` saves what there is and prints a line.
    It is called from another thread."""
    words = _current[-1].words if _current else []
    words.append(say)
    try:
        yield
    finally:
        words.remove(say)


def leave(code: int) -> None:
    """Leave at once: at the usual end, threads that still compile crash the interpreter."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def _nothing(found: Interrupted | None = None) -> Iterator[Interrupted]:
    yield Interrupted() if found is None else found


@contextmanager
def _listening(found: Interrupted) -> Iterator[None]:
    """A thread hears of signals meanwhile, however busy the first one is."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    listener = threading.Thread(target=_listen, args=(found, read), daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.write(write, b"\0")
        listener.join()
        os.close(write)
        os.close(read)


def _listen(found: Interrupted, read: int) -> None:
    """Ends the process some seconds after a signal, unless it has ended what it did by then."""
    first, came, end = 0, 0.0, math.inf
    while select.select([read], [], [], None if math.isinf(end) else max(0.0, end - time.monotonic()))[0]:
        number, now = os.read(read, 1)[0], time.monotonic()
        if number == 0:
            return
        if number in SIGNALS and not first:
            first, came, end = number, now, now + found.grace
        elif number in SIGNALS and now - came >= ONE_SIGNAL_SECONDS:
            end = min(end, now + GRACE_SECONDS)
    try:
        if found.words:
            found.words[-1]()
    finally:
        leave(128 + first)
