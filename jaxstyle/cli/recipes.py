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
                console.print(marked(f"{name:16}", "bold", summary))
            console.print()
            console.print("`jaxstyle recipes NAME` shows every setting of one.")
            return 0
        recipe = override(presets.named(self.name), settings)
        console.print(marked(self.name, "bold", presets.catalogue()[self.name][1]))
        for path, (value, about) in lines(recipe).items():
            console.print(f"--{path} {value}{' ' * max(1, 44 - len(path) - len(value))}# {about}"
                          if about else f"--{path} {value}")
        return 0


def lines(recipe: Recipe) -> dict[str, tuple[str, str]]:
    """Every setting that can be given as an option: path -> its value as text, and what it is."""
    found = {"solver": (type(recipe.solver).__name__, "the solver, with its settings below")}
    for path, value in paths(recipe).items():
        if path.startswith("stages."):
            continue  # a shell would set --size and --steps
        holder, _, name = path.rpartition(".")
        if name.isdigit():
            continue
        found[path] = as_text(value), about(get(recipe, holder) if holder else recipe, name)
    for path in listed(recipe):
        holder, _, name = path.rpartition(".")
        found[path] = as_text(get(recipe, path)), about(get(recipe, holder), name)
    return found
