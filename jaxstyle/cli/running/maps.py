"""Which maps a run uses, and what is said of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.runs.manifest import Files
from jaxstyle.runs.maps import uses_maps, with_found_maps, write_automatic_maps
from jaxstyle.sweeps.folder import INPUTS
from jaxstyle.transfer.recipe import Recipe
from jaxstyle.weights.store import load_weights


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
