"""What the library warns of, as lines for a person."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from jaxstyle.cli.console.terminal import marked


@contextmanager
def said(console: Console) -> Iterator[None]:
    """Prints the library's warnings as lines of their own, once each."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        seen: set[str] = set()

        def say(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
            if str(message) not in seen and issubclass(category, UserWarning):
                seen.add(str(message))
                console.print(marked("note:", "yellow", message))

        warnings.showwarning = say
        yield
