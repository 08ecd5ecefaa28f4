"""Outputs that say how they were made: a manifest inside each picture, and what replaying one needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import read_text
from jaxstyle.losses import TERMS
from jaxstyle.pytrees import from_json
from jaxstyle.reading import checked, parsed, too_deep
from jaxstyle.runs.manifest import FORMAT, TEXT_KEY, Files
from jaxstyle.runs.schema import Headed, Manifest
from jaxstyle.solvers import SOLVERS
from jaxstyle.transfer.canvas import CANVASES
from jaxstyle.transfer.controls import CONTROLS
from jaxstyle.transfer.recipe import Recipe, Stage, Start
from jaxstyle.weights import SUFFIX
from jaxstyle.weights.store import available, load_weights, sha256


def recipe_from_json(data: Any) -> Recipe:
    """A recipe from the form that `to_json` gave it.

    Raises:
      JaxstyleError: it is not a recipe, or one with terms or settings that this version does not know.
    """
    if not isinstance(data, Mapping) or data.get("type") != Recipe.__name__:
        raise JaxstyleError("recipe: this is not one")
    if too_deep([data]):
        raise JaxstyleError("recipe: is nested too deep")
    recipe: Recipe = from_json(data, (Recipe, Stage, Start, *CANVASES, *CONTROLS, *TERMS, *SOLVERS))
    parts: dict[str, tuple[Any, Any]] = {
             "solver": (recipe.solver, SOLVERS), "canvas": (recipe.canvas, CANVASES),
             "start": (recipe.start, (Start,)),
             **{f"stages.{i}": (stage, (Stage,)) for i, stage in enumerate(recipe.stages)},
             **{f"terms.{name}": (term, TERMS) for name, term in recipe.terms.items()}}
    for name in ("colors", "smoothing"):
        if getattr(recipe, name) is not None:
            parts[name] = (getattr(recipe, name), CONTROLS)
    for path, (part, kinds) in parts.items():
        if not isinstance(part, tuple(kinds)):
            raise JaxstyleError(f"{path}: is not one of {', '.join(kind.__name__ for kind in kinds)}")
    return recipe


def read_manifest(path: str | Path) -> dict[str, Any]:
    """The manifest inside a picture.

    Raises:
      JaxstyleError: the picture has none, or one of an unknown format.
    """
    text = read_text(path).get(TEXT_KEY)
    if text is None:
        raise JaxstyleError(f"{path}: carries no jaxstyle manifest, so there is nothing to replay")
    data: dict[str, Any] = parsed(text, Headed, f"{path}: its manifest")
    if not data["format"].startswith(FORMAT[:-1]):
        raise JaxstyleError(f"{path}: its manifest is not of the format {FORMAT}")
    checked(data, Manifest, f"{path}: its manifest")
    try:
        recipe_from_json(data["recipe"])
    except JaxstyleError as error:
        raise JaxstyleError(f"{path}: its manifest: recipe: {error}") from None
    return data


def recorded_files(data: Mapping[str, Any], given: Files, beside: Path) -> Files:
    """The reference files of a manifest, checked by hash.

    Each is looked for where the user says, where the manifest names it (as seen from the picture), and beside
    the picture.

    Raises:
      JaxstyleError: some are missing, which it lists, or one is not the file that was used.
    """
    recorded, missing = data["references"], dict[str, str]()

    def find(entry: Mapping[str, str] | None, override: str | None, field: str) -> str | None:
        if entry is None:
            return None
        path = Path(entry["path"])
        candidates = [Path(override)] if override else [beside / path, beside / path.name]
        there = [candidate for candidate in candidates if is_file(candidate)]
        if not there:
            missing[f"{override or path.name} ({field.replace('_', ' ')})"] = field
            return None
        # Another picture of the same name may lie where this one was.
        right = next((candidate for candidate in there if sha256(candidate) == entry["sha256"]), None)
        if right is None:
            raise JaxstyleError(f"{there[0]}: is not the file that was used (its SHA-256 differs); say "
                                "where that is", field)
        return str(right)

    def find_all(field: str, overrides: tuple[str | None, ...]) -> tuple[Any, ...]:
        entries = recorded.get(field, [])
        if overrides and len(overrides) != len(entries):
            raise JaxstyleError(f"the picture was made from {len(entries)} {field.replace('_', ' ')}, "
                                f"not {len(overrides)}")
        return tuple(find(entry, override, field)
                     for entry, override in zip(entries, overrides or (None,) * len(entries)))

    files = Files(
        content=find(recorded["content"], given.content, "content"),
        styles=find_all("styles", given.styles),
        start=find(recorded.get("start"), given.start, "start"),
        content_map=find(recorded.get("content_map"), given.content_map, "content_map"),
        style_maps=find_all("style_maps", given.style_maps),
        regions=find_all("regions", given.regions),
        style_regions=find_all("style_regions", given.style_regions),
        content_mask=find(recorded.get("content_mask"), given.content_mask, "content_mask"),
        strength_mask=find(recorded.get("strength_mask"), given.strength_mask, "strength_mask"),
        feather=recorded.get("feather", Files().feather),
    )
    if missing:
        raise JaxstyleError(f"not beside the picture, nor where they were: {', '.join(missing)}; say where "
                            "they are now", *dict.fromkeys(missing.values()))
    return files


def is_file(path: Path) -> bool:
    """Whether there is a regular file; names from elsewhere may be too long or hold NUL."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def recorded_weights(data: Mapping[str, Any], name: str | None = None, beside: Path | None = None) -> Weights:
    """The weights of a manifest (or those called `name`), checked by hash; files are looked for as seen from
    the folder `beside`, and in it.

    Raises:
      JaxstyleError: not found, or not the same file.
    """
    recorded = str(data["weights"]["name"])
    places = [recorded]
    if recorded.endswith(SUFFIX) and beside is not None:
        places = [str(beside / recorded), str(beside / Path(recorded).name), Path(recorded).stem]
        places = [place for place in places if place in available() or is_file(Path(place))] or [recorded]
    weights = load_weights(name or places[0])
    if weights.sha256 != data["weights"]["sha256"]:
        raise JaxstyleError(f"weights '{weights.name}' are not those that were used (SHA-256 differs); say "
                            "where those are", "weights")
    return weights
