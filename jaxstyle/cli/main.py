"""The `jaxstyle` command: all subcommands, and what an error looks like.

Nothing heavy is imported before a command is named: `--help` and `--version` answer at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module, metadata

from jaxstyle.errors import JaxstyleError

COMMANDS = {
    "stylize": ("stylize.Stylize", "Paint a photo in the style of one or more paintings."),
    "doodle": ("doodle.Doodle", "Paint a picture from a map and a painting alone, without a photo."),
    "maps": ("maps.MapsCommand", "Semantic maps: check them, or make them automatically."),
    "sweep": ("sweep.Sweep", "Make many pictures at once: every combination of the settings that --vary "
                             "names."),
    "tune": ("tune.Tune", "Search weights: many strengths and layer weights at once, the worse half stopped "
                          "again and again."),
    "video": ("video.Video", "Stylise a video, frame after frame, held still where the film is."),
    "train": ("train.Train", "Train a fast network: paintings and a folder of photos become a model."),
    "apply": ("apply.Apply", "Restyle pictures with a trained network, in milliseconds each."),
    "models": ("models.Models", "List the fast networks that apply finds by name."),
    "export": ("export.Export", "Write a fast network for other programs: StableHLO, ONNX, half precision."),
    "report": ("sweep.Report", "Make the report of a sweep again from its folder, finished or not."),
    "replay": ("replay.Replay", "Make a picture again from the manifest that it carries: bit-identical on "
                                "the same machine."),
    "recipes": ("recipes.Recipes", "List the recipes, or show every setting of one."),
    "weights": ("weights.WeightsCommand", "The networks that pictures are compared with: list, fetch, port, "
                                          "verify, normalise."),
}
"""Name of a command -> its class in `jaxstyle.cli`, and the first line of what that says about itself."""
USAGE = "usage: jaxstyle COMMAND …"
# Commands whose own options are named like fields of a recipe.
WITHOUT_RECIPE = frozenset({"weights", "apply", "models", "export"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0, 2 for an error of the user's, 130 if interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] in (["--version"], ["-V"]):
        print(f"jaxstyle {metadata.version('jaxstyle')}")
        return 0
    if not given or given[0] in ("--help", "-h"):
        print(overview(), file=sys.stdout if given else sys.stderr)
        return 0 if given else 2
    try:
        return run(given[0], given[1:])
    except JaxstyleError as error:
        from rich.console import Console

        Console(stderr=True).print(f"[red]error:[/] {error}", highlight=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        return 130


def overview() -> str:
    """What `--help` prints."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:{width}}{about}" for name, (_, about) in COMMANDS.items()]
    return "\n".join([USAGE, "", "Neural style transfer in JAX.", "", "commands:", *lines, "",
                      "options:", f"  {'--version':{width}}Print the version.", "",
                      "`jaxstyle COMMAND --help` shows what a command takes."])


def run(name: str, arguments: Sequence[str]) -> int:
    """Parse the arguments of a command and run it.

    Raises:
      JaxstyleError: no such command, or whatever it raises.
    """
    if name not in COMMANDS:
        raise JaxstyleError(f"no command '{name}'; there are {', '.join(COMMANDS)}")
    import tyro
    from rich.console import Console

    from jaxstyle.cli.arguments import ROOTS, split_overrides
    from jaxstyle.cli.notes import said
    from jaxstyle.transfer.platform import use_compilation_cache

    module, _, kind = COMMANDS[name][0].partition(".")
    found = import_module(f"jaxstyle.cli.{module}")
    # A command with a recipe of another kind (`train`) says which fields that has.
    rest, settings = (list(arguments), {}) if name in WITHOUT_RECIPE else split_overrides(
        arguments, getattr(found, "FIELDS", ROOTS))
    command = tyro.cli(getattr(found, kind), prog=f"jaxstyle {name}", args=rest,
                       config=(tyro.conf.FlagCreatePairsOff,))
    use_compilation_cache()
    console = Console(stderr=True)
    with said(console):
        return command.run(settings, console)


if __name__ == "__main__":
    sys.exit(main())
