"""`jaxstyle recipes`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from rich.console import Console
from tyro.conf import Positional, arg

from jaxstyle.cli.arguments import Settings
from jaxstyle.pytrees import paths
from jaxstyle.transfer import presets
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
                console.print(f"[bold]{name:16}[/] {summary}", highlight=False)
            console.print("\n`jaxstyle recipes NAME` shows every setting of one.")
            return 0
        recipe = override(presets.named(self.name), settings)
        for path, value in paths(recipe).items():
            console.print(f"--{path} {value}", highlight=False, soft_wrap=True, markup=False)
        return 0
