"""The `jaxstyle` command: all subcommands, and what an error looks like."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from typing import Annotated

import tyro
from rich.console import Console
from tyro.conf import FlagCreatePairsOff, subcommand

from jaxstyle.cli.apply import Apply
from jaxstyle.cli.arguments import ROOTS, split_overrides
from jaxstyle.cli.export import Export
from jaxstyle.cli.models import Models
from jaxstyle.cli.recipes import Recipes
from jaxstyle.cli.replay import Replay
from jaxstyle.cli.stylize import Stylize
from jaxstyle.cli.sweep import Report, Sweep
from jaxstyle.cli.train import FIELDS, Train
from jaxstyle.cli.tune import Tune
from jaxstyle.cli.weights import WeightsCommand
from jaxstyle.errors import JaxstyleError
from jaxstyle.transfer.platform import use_compilation_cache

Command = (
    Annotated[Stylize, subcommand("stylize")]
    | Annotated[Sweep, subcommand("sweep")]
    | Annotated[Tune, subcommand("tune")]
    | Annotated[Report, subcommand("report")]
    | Annotated[Train, subcommand("train")]
    | Annotated[Apply, subcommand("apply")]
    | Annotated[Models, subcommand("models")]
    | Annotated[Export, subcommand("export")]
    | Annotated[Replay, subcommand("replay")]
    | Annotated[Recipes, subcommand("recipes")]
    | Annotated[WeightsCommand, subcommand("weights")]
)


def fields_for(command: Sequence[str]) -> Collection[str]:
    """Fields of the recipe that a command takes as options; one without a recipe has options of its own."""
    if command in (["weights"], ["apply"], ["models"], ["export"]):
        return ()
    return FIELDS if command == ["train"] else ROOTS


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0, 2 for an error of the user's, 130 if interrupted."""
    console = Console(stderr=True)
    try:
        given = list(sys.argv[1:] if arguments is None else arguments)
        rest, settings = split_overrides(given, fields_for(given[:1]))
        command = tyro.cli(Command, prog="jaxstyle", args=rest, config=(FlagCreatePairsOff,),
                           description="Neural style transfer in JAX.")
        use_compilation_cache()
        return command.run(settings, console)
    except JaxstyleError as error:
        console.print(f"[red]error:[/] {error}", highlight=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
