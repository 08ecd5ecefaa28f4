"""Recipe settings on the command line: `--terms.style.weight 1e4` sets that field of the chosen recipe."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Collection, Sequence
from typing import Any

from jaxstyle.cli.console.help import WIDEST, entry
from jaxstyle.errors import JaxstyleError
from jaxstyle.solvers import SOLVERS
from jaxstyle.transfer.presets import DEFAULT
from jaxstyle.transfer.recipe import Recipe

Settings = dict[str, str]
"""Path of a recipe's field -> its value as text."""
ROOTS = frozenset(field.name for field in dataclasses.fields(Recipe)) - {"seed"}
SHORT = {f"{name}_weight": f"terms.{name}.weight" for name in ("content", "style", "tv")}
"""Short names of the settings that are changed most: `--style-weight`."""
FLAGS = frozenset({"start"})  # also an option of its own: `--start IMAGE`


def split_overrides(arguments: Sequence[str], roots: Collection[str] = ROOTS
                    ) -> tuple[list[str], dict[str, str]]:
    """Arguments without recipe settings, and the settings as path -> text.

    A setting is `--PATH VALUE` or `--PATH=VALUE` where PATH begins with one of `roots`, the fields of a
    recipe; dashes in a path count as underscores.

    Raises:
      JaxstyleError: a setting without a value.
    """
    rest: list[str] = []
    settings: dict[str, str] = {}
    queue = list(arguments)
    while queue:
        argument = queue.pop(0)
        name, equals, value = argument.partition("=")
        path = name[2:].replace("-", "_")
        path = SHORT.get(path, path)
        if not name.startswith("--") or path.split(".")[0] not in roots or path in FLAGS:
            rest.append(argument)
            continue
        if not equals:
            if not queue or re.match("--[a-zA-Z]", queue[0]):
                raise JaxstyleError(f"{name} needs a value")
            value = queue.pop(0)
        settings[path] = value
    return rest, settings


def setting_names() -> list[str]:
    """Options that are settings of a recipe, for near misses."""
    return [f"--{name.replace('_', '-')}" for name in (*SHORT, *sorted(ROOTS - FLAGS - {"terms", "stages"}))]


def settings_help() -> str:
    """What the help of a command with a recipe says of the recipe's settings."""
    terms: Any = DEFAULT.terms
    names = ", ".join(sorted(kind.__name__ for kind in SOLVERS))
    meant = {"style": "How much large texture counts", "content": "How much the photo counts",
             "tv": "How smooth the result is"}
    weights = [(f"--{name}-weight X", f"{text} ({terms[name].weight:g} in the default recipe)")
               for name, text in meant.items()]
    entries = [
        *weights,
        ("--solver NAME", f"{names} ({type(DEFAULT.solver).__name__} in the default recipe)"),
        ("--precision NAME", "float32, or bfloat16: faster and coarser (float32)"),
        ("--rows N", "Rows of the image at a time, for less memory (all, or what --max-memory asks for)"),
        ("--PATH VALUE", "Any field that `jaxstyle recipes NAME` shows, such as --terms.style.layers"),
    ]
    width = min(shutil.get_terminal_size().columns, WIDEST)
    lines = [line for name, text in entries for line in entry(name, text, width)]
    return "\n".join(["", "settings of the recipe:", *lines, ""])
