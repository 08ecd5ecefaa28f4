"""`jaxstyle maps check | auto`, and which maps a run uses."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from rich.console import Console
from tyro.conf import OmitSubcommandPrefixes, Positional, arg, subcommand

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.cli.arguments import Settings
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import load, save
from jaxstyle.images.maps import SemanticMap, check_size, joined, labels_of, matching, palette_text, read_map
from jaxstyle.runs.manifest import Files
from jaxstyle.runs.maps import map_path, uses_maps, with_found_maps, write_automatic_maps
from jaxstyle.sweeps.folder import INPUTS
from jaxstyle.transfer.automatic_maps import label_colours, preview
from jaxstyle.transfer.recipe import Recipe
from jaxstyle.weights.store import best_available, load_weights


@dataclass(frozen=True)
class MapOptions:
    """What a command says about maps: "auto" or None; leave found ones aside; overwrite."""

    maps: str | None = None
    no_maps: bool = False
    force: bool = False


def chosen_maps(files: Files, recipe: Recipe, weights: Weights | None, options: MapOptions, output: Path,
                console: Console) -> Files:
    """The files of a run with the maps that it uses; says where they come from.

    Raises:
      JaxstyleError: options that contradict each other, or automatic maps for a recipe that uses none.
    """
    given = bool(files.content_map or files.style_maps)
    if options.maps and (given or options.no_maps):
        raise JaxstyleError("--maps auto makes the maps itself; leave out --no-maps, --content-map and "
                            "--style-map")
    if options.maps and weights is not None:
        if not uses_maps(recipe):
            raise JaxstyleError("--maps auto is for recipes that match patches, such as --recipe patches")
        targets = [output.with_name(f"{output.stem}-map{'' if i == 0 else f'-style-{i}'}.png")
                   for i in range(1 + len(files.styles))]
        files = write_automatic_maps(weights, files, targets, seed=int(recipe.seed), overwrite=options.force)
        console.print(f"automatic maps → {', '.join(map(str, targets))}", highlight=False, soft_wrap=True)
        return files
    if given and not uses_maps(recipe):
        warnings.warn("this recipe does not use maps: they change nothing; try --recipe patches",
                      stacklevel=2)
    if given or options.no_maps or not uses_maps(recipe):
        return files
    files, found = with_found_maps(files)
    if found:
        console.print(f"maps: {', '.join(found)} (--no-maps leaves them aside)", highlight=False,
                      soft_wrap=True)
    return files


def sweep_maps(files: Mapping[str, Mapping[str, Files]], recipe: Recipe, weights: str, options: MapOptions,
               output: Path) -> dict[str, dict[str, Files]]:
    """The same for every photo with its paintings; automatic maps are kept in the folder of the sweep.

    Raises:
      JaxstyleError: as `chosen_maps`.
    """
    quiet = Console(quiet=True)
    chosen: dict[str, dict[str, Files]] = {}
    for photo, styles in files.items():
        chosen[photo] = {}
        for name, given in styles.items():
            if options.maps and not (given.content_map or given.style_maps):
                (output / INPUTS).mkdir(parents=True, exist_ok=True)
            label = "-".join(Path(path).stem for path in (given.content or "", *given.styles))
            chosen[photo][name] = chosen_maps(given, recipe, load_weights(weights) if options.maps else None,
                                              options,
                                              output / INPUTS / f"{label}.png", quiet)
    return chosen


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
    return np.argmin(np.square(values[:, :, None] - palette).sum(-1), axis=-1)


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
