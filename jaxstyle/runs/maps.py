"""The maps of a run: given, found beside their pictures, or made by clustering."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from jaxstyle.atomic import exists_already
from jaxstyle.backbones.perceptual import Weights
from jaxstyle.images.files import load, save
from jaxstyle.images.maps import SUFFIX, sem_path
from jaxstyle.losses import Patches
from jaxstyle.pytrees import replace
from jaxstyle.runs.manifest import Files
from jaxstyle.transfer.automatic_maps import automatic_maps, painted
from jaxstyle.transfer.recipe import Recipe

UNDRAWN = 0.3
"""How much automatic maps count in matching beside maps that somebody drew."""


def uses_maps(recipe: Recipe) -> bool:
    """Whether some term of a recipe looks at semantic maps."""
    return any(isinstance(term, Patches) for term in recipe.terms.values())


def for_automatic_maps(recipe: Recipe) -> Recipe:
    """The recipe for maps that nobody drew: patches keep their anchor in the photo, and γ is `UNDRAWN` of
    what it says, so that a map that is wrong somewhere does not overrule what is to be seen there."""
    return replace(recipe, {path: value for name, term in recipe.terms.items() if isinstance(term, Patches)
                            for path, value in ((f"terms.{name}.anchor_with_maps", True),
                                                (f"terms.{name}.gamma", UNDRAWN * term.gamma))})


def with_found_maps(files: Files) -> tuple[Files, tuple[str, ...]]:
    """Files with the maps `<image>_sem.png` that lie beside the pictures, and which these are.

    Only if every picture of a run without maps has one; a lonely one is mentioned in a warning.
    """
    if files.content_map or files.style_maps or files.content is None:
        return files, ()
    found = [sem_path(image) for image in (files.content, *files.styles)]
    there = [str(path) for path in found if path is not None]
    if len(there) < len(found):
        if there:
            lacking = [image for image, path in zip((files.content, *files.styles), found) if path is None]
            warnings.warn(f"{there[0]} is left aside, because {lacking[0]} has no map beside it",
                          stacklevel=2)
        return files, ()
    return replace(files, {"content_map": there[0], "style_maps": tuple(there[1:])}), tuple(there)


def map_path(folder: Path, image: str) -> Path:
    """Where the automatic map of a picture goes."""
    return folder / f"{Path(image).stem}{SUFFIX}.png"


def write_automatic_maps(weights: Weights, files: Files, targets: Sequence[Path], *, count: int = 6,
                         seed: int = 0,
                         overwrite: bool = False) -> Files:
    """Files with automatic maps of the content and of all styles, written to `targets` (one for each
    picture).

    Raises:
      JaxstyleError: a map exists already, or see `automatic_maps`.
    """
    images = [path for path in (files.content, *files.styles) if path is not None]
    for path in targets:
        if path.exists() and not overwrite:
            raise exists_already(path)
    for path, numbers in zip(targets, automatic_maps(weights, [load(image) for image in images], count,
                                                     seed)):
        save(path, painted(numbers))
    written = [str(path) for path in targets]
    if files.content is None:
        return replace(files, {"style_maps": tuple(written)})
    return replace(files, {"content_map": written[0], "style_maps": tuple(written[1:])})
