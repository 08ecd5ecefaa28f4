"""What `jaxstyle COMMAND --help` prints: tyro's boxes as plain columns, as wide as the terminal."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator

LEFT, WIDEST = 24, 110
UNSAID = r"\s*\((?:required|default: (?:None|False|))\)"
"""Hints that say nothing: where there is no default, the text says what happens."""


def page(boxes: str) -> str:
    """Help in tyro's boxes as plain text."""
    width = min(shutil.get_terminal_size().columns, WIDEST)
    lines: list[str] = []
    for kind, content in _parts(boxes):
        if kind == "title":
            lines += ["", f"{content}:"]
        elif kind == "text":
            lines += textwrap.wrap(content, width) if content else [""]
        else:
            name, _, text = content.partition("\t")
            lines += entry(name.replace("{None,", "{"), " ".join(re.sub(UNSAID, "", text).split()), width)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def entry(name: str, text: str, width: int) -> list[str]:
    """An option and what it does, in two columns; a long name has a line of its own."""
    column = LEFT if width >= 60 else 8
    body = textwrap.wrap(text, max(width - column, 20), break_on_hyphens=False)
    first = f"  {name}"
    if len(first) + 2 > column or not body:
        return [first, *(" " * column + line for line in body)]
    return [first.ljust(column) + body[0], *(" " * column + line for line in body[1:])]


def _parts(boxes: str) -> Iterator[tuple[str, str]]:
    """Titles, entries ("name<tab>text") and paragraphs, one after the other."""
    entries: list[str] = []
    paragraph = ""
    for coloured in [*boxes.splitlines(), ""]:
        line = re.sub(r"\x1b\[[0-9;]*m", "", coloured).rstrip()
        inside = re.fullmatch(r"│ ?(.*?)\s*│", line)
        if inside is not None:
            _collect(entries, inside[1])
            continue
        yield from (("entry", each) for each in entries)
        entries.clear()
        title = re.fullmatch(r"╭─+ (.+?) ─+╮", line)
        if title or not line:
            if paragraph:
                yield "text", paragraph
            yield ("title", title[1]) if title else ("text", "")
            paragraph = ""
        elif not line.startswith("╰"):
            paragraph = f"{paragraph} {line}".strip()


def _collect(entries: list[str], line: str) -> None:
    """Adds a line of a box to the entries so far: a new one, or more of the last one's text."""
    found = re.fullmatch(r"(?:  • )?(\S.*?)(?:  +(\S.*))?", line)
    if re.fullmatch(r"─{3,}", line):
        entries.clear()  # above it stands what the command does, once more
    elif found and found[1] != "(required)":
        entries.append(f"{found[1]}\t{found[2] or ''}")
    elif entries:
        entries[-1] += f" {line.strip()}"
