"""The `jaxstyle` command: all subcommands, and what an error looks like.

Nothing heavy is imported before a command is named: `--help` and `--version` answer at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from jaxstyle.cli.console.interrupts import INTERRUPTED, heeded, last_words, leave, noting_signals
from jaxstyle.errors import JaxstyleError

COMMANDS = {
    "stylize": ("stylize.Stylize", "Paint a photo in the style of one or more paintings."),
    "doodle": ("maps.Doodle", "Turn a map of flat colours into a painting: every region takes after the "
                               "same colour's in a painting."),
    "maps": ("maps.MapsCommand", "Semantic maps: check hand-made ones, or make them from the pictures."),
    "sweep": ("sweep.Sweep", "Make many pictures at once: every combination of the settings that --vary "
                             "names."),
    "tune": ("tune.Tune", "Search weights: many strengths and layer weights at once, the worse half stopped "
                          "again and again."),
    "video": ("video.Video", "Paint a video in the style of a painting, frame after frame, without flicker."),
    "train": ("train.Train", "Train a fast network: paintings and a folder of photos become a model for "
                             "`jaxstyle apply`."),
    "apply": ("apply.Apply", "Restyle pictures with a trained network, in milliseconds each."),
    "models": ("models.Models", "List the fast networks that `jaxstyle apply` finds by name, one per line."),
    "export": ("models.Export", "Write a fast network for other programs: .onnx, .stablehlo, or a "
                                ".safetensors file (half precision)."),
    "report": ("sweep.Report", "Make the report of a sweep again from its folder, finished or not."),
    "vote": ("voting.Vote", "Ask people which of two results is better, on a local page: wins with "
                            "confidence intervals."),
    "replay": ("replay.Replay", "Make a picture again from the manifest that it carries: bit-identical on "
                                "the same machine."),
    "recipes": ("recipes.Recipes", "List the recipes, or show every setting of one."),
    "weights": ("weights.WeightsCommand", "The networks that pictures are compared with: list, fetch, port, "
                                          "verify, normalise."),
}
"""Name of a command -> its class in `jaxstyle.cli`, and the first line of what that says about itself."""
USAGE = "usage: jaxstyle COMMAND …"
# Fields that several flags fill, one file each time.
FLAGS = {"styles": "style", "style_maps": "style_map", "regions": "region", "style_regions": "style_mask"}
# Commands whose own options are named like fields of a recipe.
PAINTING = frozenset({"stylize", "doodle", "sweep", "tune"})  # their help says what a recipe's settings are
WITHOUT_RECIPE = frozenset({"weights", "apply", "models", "export", "vote"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0, 2 for an error of the user's, 130 if interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] in (["--version"], ["-V"]):
        from importlib import metadata

        sys.stdout.write(f"jaxstyle {metadata.version('jaxstyle')}\n")
        return 0
    if not given or given[0] in ("--help", "-h"):
        (sys.stdout if given else sys.stderr).write(f"{overview()}\n")
        return 0 if given else 2
    with heeded(deadline=arguments is None) as interrupted:
        try:
            code = answered(given)
        except Exception:
            if not interrupted:
                raise
            # A module that a signal cut short while it was imported says so in words of its own.
            sys.stderr.write("interrupted\n")
            code = INTERRUPTED
        if interrupted and arguments is None:
            leave(interrupted.code)
    return interrupted.code or code


def answered(given: Sequence[str]) -> int:
    """Runs a command, and turns what ends it into an exit code and a line."""
    try:
        return run(given[0], given[1:])
    except JaxstyleError as error:
        return refused(error)
    except OSError as error:  # a name that is too long, a disk that fails: the system says which
        place = f"{error.filename}: " if error.filename else ""
        return refused(JaxstyleError(f"{place}{error.strerror or error}; check its name, and the disk"))
    except KeyboardInterrupt:
        # The console may be what is still being imported.
        sys.stderr.write("interrupted; nothing was written\n")
        return INTERRUPTED


def refused(error: JaxstyleError) -> int:
    """Prints an error with the flags that change what it names; returns the exit code."""
    from jaxstyle.cli.console.terminal import marked, terminal

    flags = ", ".join(f"--{FLAGS.get(field, field).replace('_', '-')}" for field in error.fields)
    terminal().print(marked("error:", "red", f"{error} ({flags})" if flags else error))
    return 2


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
      KeyboardInterrupt: a signal came meanwhile.
    """
    if name not in COMMANDS:
        from difflib import get_close_matches

        near = get_close_matches(name, COMMANDS, 1, 0.7)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise JaxstyleError(f"no command '{name}'; there are {', '.join(COMMANDS)}{meant}")
    module, _, kind = COMMANDS[name][0].partition(".")
    # Libraries that are cut short while they are imported say strange things.
    with noting_signals() as noted, last_words(lambda: sys.stderr.write("interrupted\n")):
        from tyro.conf import FlagCreatePairsOff

        from jaxstyle.cli.console.notes import said
        from jaxstyle.cli.console.terminal import parse, terminal
        from jaxstyle.cli.running.arguments import ROOTS, setting_names, settings_help, split_overrides
        from jaxstyle.transfer.platform import spare_the_only_thread, use_compilation_cache

        found = import_module(f"jaxstyle.cli.{module}")
    if noted:
        raise KeyboardInterrupt
    # A command with a recipe of another kind (`train`) says which fields that has.
    rest, settings = (list(arguments), {}) if name in WITHOUT_RECIPE else split_overrides(
        arguments, getattr(found, "FIELDS", ROOTS))
    command = parse(getattr(found, kind), f"jaxstyle {name}", rest,
                    () if name in WITHOUT_RECIPE else setting_names(),
                    about=settings_help() if name in PAINTING else "", config=(FlagCreatePairsOff,))
    use_compilation_cache()
    spare_the_only_thread()
    console = terminal()
    with said(console), last_words(lambda: console.print("interrupted; nothing was written")):
        status: int = command.run(settings, console)
        return status


if __name__ == "__main__":
    sys.exit(main())
