"""What is printed and what was typed: text from elsewhere is never markup, mistakes are one line."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from rich.console import Console
from rich.text import Text

from jaxstyle.cli.console.help import page
from jaxstyle.errors import JaxstyleError, printable

WIDE = "240"
"""Columns that tyro is told it has, so that it breaks no line inside a sentence."""


class Terminal(Console):
    """A console on which a string is what it says, in one line: no markup, no escape sequence, no line end
    (see `printable`). Colours are given by `style`, or as a `Text`."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; strings as they are."""
        plain = [Text(printable(each)) if isinstance(each, str) else each for each in objects]
        super().print(*plain, **{"soft_wrap": True, "highlight": False, **options})


def marked(mark: str, style: str, text: object) -> Text:
    """A line that begins with a coloured word."""
    return Text.assemble((mark, style), " ", printable(text))


def terminal() -> Terminal:
    """Where messages go: standard error, so that pipes carry results alone."""
    return Terminal(stderr=True)


def parse(kind: Any, prog: str, arguments: Sequence[str], more: Sequence[str] = (), *, about: str = "",
          **options: Any) -> Any:
    """The arguments of a command as its dataclass.

    Args:
      more: options beside its own, for near misses; about: what the help says of them.

    Raises:
      JaxstyleError: they make no sense, in one line with what may have been meant.
      SystemExit: help was asked for, and printed.
    """
    import tyro

    said, boxes = io.StringIO(), io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(boxes), _columns():
            return tyro.cli(kind, prog=prog, args=list(arguments), **options)
    except SystemExit as end:
        if not end.code:
            boxes.seek(0)
            sys.stdout.write(page(boxes.read()) + about)
            raise
        name = " ".join([prog, *_subcommand(arguments)])
        said_so = _sentence(said.getvalue(), more)
        raise JaxstyleError(f"{said_so} (`{name} --help` shows all options)") from None




def _subcommand(arguments: Sequence[str]) -> list[str]:
    first = next(iter(arguments), "")
    return [first] if re.fullmatch(r"[a-z]+", first) and first in ("list", "fetch", "port", "verify",
                                                                    "normalise") else []


@contextlib.contextmanager
def _columns() -> Iterator[None]:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = WIDE
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _sentence(box: str, more: Sequence[str]) -> str:
    """The box in which tyro says what is wrong, as a sentence."""
    blocks: list[list[str]] = [[]]
    for coloured in box.splitlines():
        line = re.sub(r"\x1b\[[0-9;]*m", "", coloured).strip("│|+╭╮╰╯ ")
        if re.fullmatch(r"[-─]{3,}", line):
            blocks.append([])
        elif line and not re.search(r"[-─]{3}$", line):  # else the box's title
            blocks[-1].append(line)
    blocks = [block for block in blocks if block] or [[]]
    if len(blocks) > 1 and re.fullmatch(r"[A-Z][a-z ]+", " ".join(blocks[0])):
        del blocks[0]  # the title, where there are no lines to draw a box with
    first = " ".join(blocks[0]) or "these arguments make no sense"
    if value := re.match(r"Error parsing (\S+?): .*from \['?(.*?)'?\]", first):
        kinds = set(re.findall(r"<class '(\w+)'>|\b(INT|FLOAT)\b", first))
        whole = any("int" in kind or "INT" in kind for kind in kinds)
        first = f"{value[1]} takes {'a whole number' if whole else 'another kind of value'}, not '{value[2]}'"
    first = re.sub(r"Unrecognized options: (.*)", lambda found: f"unknown option {_first(found[1])}", first)
    first = re.sub(r"Missing from .*?: (\S+).*", r"\1 is missing", first)
    for block in blocks[1:]:
        if block and block[0].startswith("Perhaps you meant"):
            meant = [line.split()[0].rstrip(",") for line in block[1:] if line.startswith("-")]
            if meant:
                return f"{first}; did you mean {' or '.join(dict.fromkeys(meant[:2]))}?"
        if block and block[0].startswith("Available subcommands"):
            return f"{first.replace('unknown option', 'unknown command')}; " \
                   f"there are {' '.join(block).partition(': ')[2]}"
    near = get_close_matches(first.removeprefix("unknown option ").partition("=")[0], more, 1)
    return f"{first}; did you mean {near[0]}?" if near else first


def _first(options: str) -> str:
    return options.split(", ")[0]
