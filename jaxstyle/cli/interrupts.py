"""Ctrl-C and SIGTERM while something runs: the work in hand is finished and kept, then the command ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted:
    """Whether a signal came, and which."""

    signal: int = 0

    def __bool__(self) -> bool:
        return self.signal != 0

    @property
    def code(self) -> int:
        """Exit code of a command that a signal ended: 130 for Ctrl-C, 143 for SIGTERM; 0 without one."""
        return 128 + self.signal if self.signal else 0


@contextmanager
def noting_signals() -> Iterator[Interrupted]:
    """Notes the first Ctrl-C or SIGTERM instead of raising; the second raises `KeyboardInterrupt`."""
    found = Interrupted()

    def note(number: int, frame: FrameType | None) -> None:
        if found:
            raise KeyboardInterrupt
        found.signal = number

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield found
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
