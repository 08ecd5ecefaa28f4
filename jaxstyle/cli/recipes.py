"""`jaxstyle recipes`."""

from __future__ import annotations

import dataclasses
import re
import shlex
from dataclasses import dataclass
from typing import Annotated, Any

from rich.console import Console
from tyro.conf import Positional, arg

from jaxstyle.cli.console.terminal import marked
from jaxstyle.cli.running.arguments import Settings
from jaxstyle.pytrees import children
from jaxstyle.solvers import SOLVERS
from jaxstyle.transfer import presets
from jaxstyle.transfer.recipe import Recipe
from jaxstyle.transfer.settings import override


@dataclass(frozen=True)
class Recipes:
    """List the recipes, or show every setting of one."""

    name: Annotated[str | None, Positional, arg(metavar="NAME")] = None
    """A recipe, to see all that can be set."""

    def run(self, settings: Settings, console: Console) -> int:
        """Print."""
        if self.name is None:
            for name, (_, summary) in presets.catalogue().items():
                console.print(marked(f"{name:16}", "bold", summary))
            console.print()
            console.print("`jaxstyle recipes NAME` shows every setting of one.")
            return 0
        recipe = override(presets.named(self.name), settings)
        console.print(marked(self.name, "bold", presets.catalogue()[self.name][1]))
        for path, (value, about) in lines(recipe).items():
            setting = f"--{path} {value}"
            console.print(f"{setting:46} # {about}" if about else setting)
        return 0


def lines(recipe: Recipe) -> dict[str, tuple[str, str]]:
    """Every setting, as an option that can be pasted: path -> its value as text, and what it is."""
    return {"solver": (type(recipe.solver).__name__, "one of " + ", ".join(s.__name__ for s in SOLVERS)),
            **settings_of(recipe, "")}


def settings_of(node: Any, prefix: str) -> dict[str, tuple[str, str]]:
    """The settings below a part of a recipe; lists of numbers or names are one setting."""
    found: dict[str, tuple[str, str]] = {}
    for name, child in children(node).items():
        path = f"{prefix}{name}"
        plain = isinstance(child, tuple) and not any(map(children, child))
        if children(child) and not plain:
            found |= settings_of(child, f"{path}.")
        elif plain or (not isinstance(child, dict | tuple) and not dataclasses.is_dataclass(child)):
            found[path] = as_text(child), description(node, name)
    return found


def as_text(value: Any) -> str:
    """A value as it is typed in a shell."""
    if isinstance(value, tuple):
        return shlex.quote(",".join(str(item) for item in value))
    return str(value).lower() if value is None or isinstance(value, bool) else shlex.quote(str(value))


def description(node: Any, name: str) -> str:
    """What the docstring of a class says of one of its attributes."""
    attributes = (type(node).__doc__ or "").partition("Attributes:")[2]
    ends = r"(?=; \w+(?:, \w+)*: |\.\s|\.$|$)"
    found = re.search(rf"(?:^|[\n;,]) *{name}(?:, \w+)*: (.*?){ends}", attributes, re.S)
    return " ".join(found[1].split()) if found else ""
