"""`jaxstyle maps check | auto`, and `jaxstyle doodle`, which paints a map."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from rich.console import Console
from tyro.conf import OmitSubcommandPrefixes, Positional, arg, subcommand

from jaxstyle.cli.running.arguments import Settings
from jaxstyle.cli.running.job import Job, check_output, snapshot_path
from jaxstyle.cli.running.render import render
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import load, save
from jaxstyle.images.maps import (
    SemanticMap,
    check_size,
    joined,
    labels_of,
    matching,
    palette_text,
    read_map,
    sem_path,
)
from jaxstyle.losses import Content
from jaxstyle.pytrees import replace
from jaxstyle.runs.manifest import Files, load_references
from jaxstyle.runs.maps import map_path, write_automatic_maps
from jaxstyle.transfer import presets
from jaxstyle.transfer.automatic_maps import label_colours, preview
from jaxstyle.transfer.memory import parse_size
from jaxstyle.transfer.presets.translation import translated
from jaxstyle.transfer.recipe import Recipe
from jaxstyle.transfer.settings import override
from jaxstyle.weights.store import best_available, load_weights


@dataclass(frozen=True)
class Check:
    """Say what maps hold: the share of each label, and which labels have no partner.

    Example: jaxstyle maps check photo.jpg photo_sem.png painting.jpg painting_sem.png
    """

    files: Annotated[tuple[Path, ...], Positional, arg(metavar="IMAGE MAP ...")]
    """Pictures and their maps in turn, the photo first."""

    def run(self, settings: Settings, console: Console) -> int:
        """Print; 1 if a label of the photo has no partner."""
        if len(self.files) < 2 or len(self.files) % 2:
            raise JaxstyleError("maps check takes pictures and their maps in turn: jaxstyle maps check "
                                "photo.jpg photo_sem.png painting.jpg painting_sem.png")
        images, maps = self.files[::2], [read_map(path) for path in self.files[1::2]]
        for image, semantic in zip(images, maps):
            check_size(semantic, load(image), image)
        for semantic in maps:
            self.print_labels(semantic, [other for other in maps if other is not semantic], console)
        if len(maps) == 1:
            return 0
        joined(maps)
        there = [label for other in maps[1:] for label in labels_of(other.values)]
        return int(not all(matching(label, there) for label in labels_of(maps[0].values)))

    def print_labels(self, semantic: SemanticMap, others: list[SemanticMap], console: Console) -> None:
        """The labels of one map, and whether the others have them."""
        height, width = semantic.values.shape[:2]
        console.print(f"{semantic.path}: {width}×{height}, {semantic.kind}", highlight=False, soft_wrap=True)
        there = [label for other in others if other.values.shape[-1] == semantic.values.shape[-1]
                 for label in labels_of(other.values)]
        for label in labels_of(semantic.values):
            line = f"  {label.name:10} {label.share:6.1%}"
            alone = others and not matching(label, there)
            console.print(f"{line}  no partner" if alone else line, style="yellow" if alone else "")


@dataclass(frozen=True)
class Auto:
    """Make maps by clustering what the pictures look like to the network, all of them together.

    Writes PHOTO_sem.png and PAINTING_sem.png, which other commands find by themselves, and a preview.
    """

    content: Annotated[Path, Positional, arg(metavar="PHOTO")]
    """The photo."""
    styles: Annotated[tuple[Path, ...], Positional, arg(metavar="PAINTING ...")]
    """The painting, or several."""
    labels: Annotated[int, arg(aliases=("-k",), metavar="N")] = 6
    """How many labels at most."""
    seed: Annotated[int, arg(metavar="N")] = 0
    """Seed of the clustering."""
    output: Annotated[Path | None, arg(aliases=("-o",), metavar="DIR")] = None
    """Folder for the maps; beside each picture if not given."""
    preview: Annotated[Path | None, arg(metavar="FILE")] = None
    """Where the pictures with their outlines go; PHOTO_sem_preview.png if not given."""
    weights: Annotated[str | None, arg(metavar="NAME")] = None
    """Network to look through."""
    force: bool = False
    """Overwrite maps that exist."""

    def run(self, settings: Settings, console: Console) -> int:
        """Write maps and preview."""
        if not self.styles:
            raise JaxstyleError("no painting was given: jaxstyle maps auto photo.jpg painting.jpg")
        if self.output is not None and not self.output.is_dir():
            raise JaxstyleError(f"{self.output}: is not a folder; make it first")
        images = [self.content, *self.styles]
        targets = [map_path(self.output or image.parent, str(image)) for image in images]
        if len(set(targets)) < len(targets):
            raise JaxstyleError("two pictures have the same name, and their maps would too; rename one")
        shown = self.preview or targets[0].with_name(f"{targets[0].stem}_preview.png")
        if shown.exists() and not self.force:
            raise JaxstyleError(f"{shown}: exists already; add --force to overwrite it")
        files = Files(content=str(self.content), styles=tuple(map(str, self.styles)))
        write_automatic_maps(load_weights(self.weights or best_available()), files, targets,
                             count=self.labels,
                             seed=self.seed, overwrite=self.force)
        save(shown, preview([load(image) for image in images], [numbers_of(path) for path in targets]))
        for path in targets:
            console.print(palette_text(read_map(path)), highlight=False, soft_wrap=True)
        console.print(f"outlines → {shown}", highlight=False, soft_wrap=True)
        return 0


def numbers_of(path: Path) -> np.ndarray:
    """Numbers of labels `[H, W]` of an automatic map, the same in every map."""
    values = read_map(path).values
    palette = label_colours(64)
    nearest: np.ndarray = np.argmin(np.square(values[:, :, None] - palette).sum(-1), axis=-1)
    return nearest


@dataclass(frozen=True)
class MapsCommand:
    """Semantic maps: check hand-made ones, or make them from the pictures."""

    action: OmitSubcommandPrefixes[Annotated[Check, subcommand("check")] | Annotated[Auto,
        subcommand("auto")]]

    def run(self, settings: Settings, console: Console) -> int:
        """Run the action."""
        if settings:
            raise JaxstyleError(f"--{next(iter(settings))}: maps have no recipe")
        return self.action.run(settings, console)


@dataclass(frozen=True)
class Doodle:
    """Turn a map of flat colours into a painting: every region takes after the same colour's in a painting.

    There is no photo; MAP gives the size. Without PAINTING_MAP, PAINTING_sem.png beside the painting is
    taken.
    """

    map: Annotated[Path, Positional, arg(metavar="MAP")]
    """What is to be where: a picture of flat colours, best as PNG."""
    painting: Annotated[Path, Positional, arg(metavar="PAINTING")]
    """The painting."""
    painting_map: Annotated[Path | None, Positional, arg(metavar="PAINTING_MAP")] = None
    """What is where in the painting, in the same colours."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="OUT")] = Path("out.png")
    """The picture to write: .png, .jpg, .webp or .tiff."""
    recipe: Annotated[str, arg(metavar="NAME")] = "doodle"
    """What to do: doodle, neural-doodle, or another recipe that matches patches."""
    size: Annotated[int | None, arg(metavar="PIXELS")] = None
    """Longer side of the result; the map's own if not given."""
    steps: Annotated[int | None, arg(metavar="N")] = None
    """Solver steps in all; the recipe's own if not given."""
    weights: Annotated[str | None, arg(metavar="NAME")] = None
    """Network to look through: a name from `jaxstyle weights list`, or a .safetensors file."""
    seed: Annotated[int | None, arg(metavar="N")] = None
    """Seed of the noise; the recipe's own if not given."""
    every: Annotated[int | None, arg(metavar="N")] = None
    """Also write the picture every N steps, as OUT-00100.png and so on."""
    max_memory: Annotated[str | None, arg(metavar="SIZE")] = None
    """Stay within e.g. 2GB or 800MB."""
    resume: bool = False
    """Go on with the same command where it was interrupted or killed, to the same picture bit for bit."""
    force: bool = False
    """Overwrite OUT if it exists."""

    def run(self, settings: Settings, console: Console) -> int:
        """Make the picture."""
        if self.every is not None and self.every < 1:
            raise JaxstyleError("--every takes a number of steps of at least 1")
        limit = None if self.max_memory is None else parse_size(self.max_memory)
        painting_map = self.painting_map or sem_path(self.painting)
        if painting_map is None:
            raise JaxstyleError(f"{self.painting}: has no map; give one, or put {self.painting.stem}_sem.png "
                                "beside it")
        height, width = load(self.map).shape[:2]
        recipe = override(self.chosen_recipe(max(height, width)), settings)
        steps = range(self.every, recipe.total_steps + 1, self.every) if self.every else ()
        check_output(self.output, self.force, [snapshot_path(self.output, step) for step in steps],
                     self.resume)
        files = Files(styles=(str(self.painting),), content_map=str(self.map),
                      style_maps=(str(painting_map),))
        console.print(f"maps: {self.map}, {painting_map}", highlight=False, soft_wrap=True)
        weights = load_weights(self.weights or best_available())
        job = Job(weights=weights, references=load_references(files), recipe=translated(recipe, weights),
                  files=files, output=self.output, every=self.every, limit=limit, resume=self.resume)
        return render(job, console)

    def chosen_recipe(self, longer: int) -> Recipe:
        """The named recipe without its content terms, at the size of the map, with the short flags
        applied."""
        recipe = presets.with_size(presets.named(self.recipe), self.size or longer)
        terms = {name: term for name, term in recipe.terms.items() if not isinstance(term, Content)}
        recipe = replace(recipe, {"terms": terms, "start.noise": 1.0})
        if self.steps is not None:
            recipe = presets.with_steps(recipe, self.steps)
        return recipe if self.seed is None else replace(recipe, {"seed": self.seed})
