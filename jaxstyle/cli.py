"""The `jaxstyle` command: parsing and printing only."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import tyro
from rich.console import Console
from tyro.conf import FlagCreatePairsOff, Positional, arg, subcommand

from jaxstyle import recipes
from jaxstyle.balance import balanced
from jaxstyle.cli_sweep import Report, Sweep, best_available
from jaxstyle.cli_tune import Tune
from jaxstyle.cli_weights import WeightsCommand
from jaxstyle.errors import JaxstyleError
from jaxstyle.memory import parse_size
from jaxstyle.overrides import override, split_overrides
from jaxstyle.pytrees import paths, replace
from jaxstyle.recipe import Recipe
from jaxstyle.render import check_output, render, snapshot_path
from jaxstyle.runs import (
    Files,
    load_references,
    read_manifest,
    recipe_from_json,
    recorded_files,
    recorded_weights,
)
from jaxstyle.weights import cache_dir, load_weights

Settings = dict[str, str]


@dataclass(frozen=True)
class Stylize:
    """Paint a photo in the style of one or more paintings.

    Every field of the recipe can be set too, e.g. --terms.style.weight 1e4 for more style, --solver Adam, or
    --precision bfloat16 to compute faster and coarser; `jaxstyle recipes NAME` lists them all. Ctrl-C stops
    early and saves the best image so far.
    """

    content: Annotated[Path, Positional, arg(metavar="PHOTO")]
    """The photo: JPEG, PNG, WebP or TIFF."""
    styles: Annotated[tuple[Path, ...], Positional, arg(metavar="PAINTING ...")]
    """The painting; several are blended (--terms.style.blend 2,1 sets the shares)."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="OUT")] = Path("out.png")
    """The picture to write: .png, .jpg, .webp or .tiff."""
    recipe: Annotated[str, arg(metavar="NAME")] = "default"
    """What to do; `jaxstyle recipes` lists the names."""
    size: Annotated[int | None, arg(metavar="PIXELS")] = None
    """Longer side of the result; the recipe's own if not given."""
    steps: Annotated[int | None, arg(metavar="N")] = None
    """Solver steps in all; the recipe's own if not given."""
    weights: Annotated[str | None, arg(metavar="NAME")] = None
    """Network to look through: a name from `jaxstyle weights list`, or a .safetensors file."""
    seed: Annotated[int | None, arg(metavar="N")] = None
    """Seed of the noise; the recipe's own if not given."""
    start: Annotated[Path | None, arg(metavar="IMAGE")] = None
    """Image to start from instead of what the recipe says."""
    content_map: Annotated[Path | None, arg(metavar="IMAGE")] = None
    """What is where in the result: a picture of flat colours, for recipes that match patches."""
    style_map: Annotated[tuple[Path, ...], arg(metavar="IMAGE ...")] = ()
    """What is where in each painting, in the same colours."""
    every: Annotated[int | None, arg(metavar="N")] = None
    """Also write the picture every N steps, as OUT-00100.png and so on."""
    auto_weights: bool = False
    """Weigh style against content by what these pictures need, for the strength below."""
    strength: Annotated[float | None, arg(metavar="0…1")] = None
    """With --auto-weights, which it implies: 0 keeps the photo, 1 the style (0.5 if not given)."""
    keep_alpha: bool = False
    """Give the result the transparency of the photo."""
    max_memory: Annotated[str | None, arg(metavar="SIZE")] = None
    """Stay within e.g. 2GB or 800MB: fewer rows of the image at a time (--rows), at worst a shorter L-BFGS
    history. What is free, if not given."""
    devices: Annotated[int, arg(metavar="N")] = 1
    """Split the image by rows over the first N devices."""
    force: bool = False
    """Overwrite OUT if it exists."""

    def run(self, settings: Settings, console: Console) -> int:
        """Make the picture."""
        if not self.styles:
            raise JaxstyleError("no painting was given: jaxstyle stylize photo.jpg painting.jpg -o out.png")
        if self.every is not None and self.every < 1:
            raise JaxstyleError("--every takes a number of steps of at least 1")
        limit = None if self.max_memory is None else parse_size(self.max_memory)
        recipe = override(self.chosen_recipe(), settings)
        steps = range(self.every, recipe.total_steps + 1, self.every) if self.every else ()
        check_output(self.output, self.force, [snapshot_path(self.output, step) for step in steps])
        files = Files(content=str(self.content), styles=tuple(map(str, self.styles)),
                      start=None if self.start is None else str(self.start),
                      content_map=None if self.content_map is None else str(self.content_map),
                      style_maps=tuple(map(str, self.style_map)))
        references = load_references(files)
        weights = load_weights(self.weights or best_available())
        if self.auto_weights or self.strength is not None:
            recipe = balanced(weights, references, recipe, 0.5 if self.strength is None else self.strength)
        return render(weights, references, recipe, files, self.output, every=self.every,
                      keep_alpha=self.keep_alpha, limit=limit, devices=first_devices(self.devices),
                      console=console)

    def chosen_recipe(self) -> Recipe:
        """The named recipe with the short flags applied."""
        recipe = recipes.named(self.recipe)
        if self.size is not None:
            recipe = recipes.with_size(recipe, self.size)
        if self.steps is not None:
            recipe = recipes.with_steps(recipe, self.steps)
        if self.seed is not None:
            recipe = replace(recipe, {"seed": self.seed})
        if self.start is not None:
            recipe = replace(recipe, {"start.base": "image", "start.noise": 0.0})
        return recipe


def first_devices(count: int) -> tuple[jax.Device, ...]:
    """Devices to split an image over; none for one.

    Raises:
      JaxstyleError: there are not as many.
    """
    found = jax.local_devices()
    if not 1 <= count <= len(found):
        raise JaxstyleError(f"--devices {count}: there are 1 … {len(found)} here (a CPU counts as N with "
                            "XLA_FLAGS=--xla_force_host_platform_device_count=N)")
    return tuple(found[:count]) if count > 1 else ()


@dataclass(frozen=True)
class Replay:
    """Make a picture again from the manifest that it carries: bit-identical on the same machine."""

    picture: Annotated[Path, Positional, arg(metavar="PICTURE")]
    """A picture that jaxstyle made."""
    output: Annotated[Path | None, arg(aliases=("-o",), metavar="OUT")] = None
    """The picture to write; PICTURE-replay.png if not given."""
    content: Annotated[str | None, arg(metavar="FILE")] = None
    """Where the photo is now, if it has moved."""
    style: Annotated[tuple[str, ...], arg(metavar="FILE ...")] = ()
    """Where the paintings are now, if they have moved."""
    start: Annotated[str | None, arg(metavar="FILE")] = None
    """Where the start image is now, if it has moved."""
    content_map: Annotated[str | None, arg(metavar="FILE")] = None
    """Where the map of the result is now, if it has moved."""
    style_map: Annotated[tuple[str, ...], arg(metavar="FILE ...")] = ()
    """Where the maps of the paintings are now, if they have moved."""
    weights: Annotated[str | None, arg(metavar="NAME")] = None
    """Name or file of the weights, if they have moved."""
    force: bool = False
    """Overwrite OUT if it exists."""

    def run(self, settings: Settings, console: Console) -> int:
        """Make the picture again."""
        if settings:
            raise JaxstyleError(f"replay repeats a run as it was; --{next(iter(settings))} cannot be set")
        data = read_manifest(self.picture)
        output = self.output or self.picture.with_name(f"{self.picture.stem}-replay{self.picture.suffix}")
        check_output(output, self.force)
        given = Files(content=self.content, styles=self.style, start=self.start,
                      content_map=self.content_map, style_maps=self.style_map)
        files = recorded_files(data, given, self.picture.parent)
        recipe = recipe_from_json(data["recipe"])
        return render(recorded_weights(data, self.weights), load_references(files), recipe, files, output,
                      keep_alpha=bool(data.get("keep_alpha")), replay=True, console=console)


@dataclass(frozen=True)
class Recipes:
    """List the recipes, or show every setting of one."""

    name: Annotated[str | None, Positional, arg(metavar="NAME")] = None
    """A recipe, to see all that can be set."""

    def run(self, settings: Settings, console: Console) -> int:
        """Print."""
        if self.name is None:
            for name, (_, summary) in recipes.catalogue().items():
                console.print(f"[bold]{name:16}[/] {summary}", highlight=False)
            console.print("\n`jaxstyle recipes NAME` shows every setting of one.")
            return 0
        recipe = override(recipes.named(self.name), settings)
        for path, value in paths(recipe).items():
            console.print(f"--{path} {value}", highlight=False, soft_wrap=True, markup=False)
        return 0


Command = (
    Annotated[Stylize, subcommand("stylize")]
    | Annotated[Sweep, subcommand("sweep")]
    | Annotated[Tune, subcommand("tune")]
    | Annotated[Report, subcommand("report")]
    | Annotated[Replay, subcommand("replay")]
    | Annotated[Recipes, subcommand("recipes")]
    | Annotated[WeightsCommand, subcommand("weights")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0, 2 for an error of the user's, 130 if interrupted."""
    console = Console(stderr=True)
    try:
        given = list(sys.argv[1:] if arguments is None else arguments)
        # `weights` has no recipe: its --border is its own
        rest, settings = (given, {}) if given[:1] == ["weights"] else split_overrides(given)
        command = tyro.cli(Command, prog="jaxstyle", args=rest, config=(FlagCreatePairsOff,),
                           description="Neural style transfer in JAX.")
        use_compilation_cache()
        return command.run(settings, console)
    except JaxstyleError as error:
        console.print(f"[red]error:[/] {error}", highlight=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        return 130


def use_compilation_cache() -> None:
    """Keep compiled programs under the user's cache folder, so that the second run starts at once."""
    jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


if __name__ == "__main__":
    sys.exit(main())
