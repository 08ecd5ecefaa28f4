"""Outputs that say how they were made: a manifest inside each picture, and what replaying one needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import read_text
from jaxstyle.losses import TERMS
from jaxstyle.pytrees import from_json
from jaxstyle.runs.manifest import FORMAT, TEXT_KEY, Files
from jaxstyle.solvers import SOLVERS
from jaxstyle.transfer.canvas import CANVASES
from jaxstyle.transfer.controls import CONTROLS
from jaxstyle.transfer.recipe import Recipe, Stage, Start
from jaxstyle.weights.store import load_weights, sha256


def recipe_from_json(data: Any) -> Recipe:
    """A recipe from the form that `to_json` gave it.

    Raises:
      JaxstyleError: it is not a recipe, or one with terms or settings that this version does not know.
    """
    recipe = from_json(data, (Recipe, Stage, Start, *CANVASES, *CONTROLS, *TERMS, *SOLVERS))
    if not isinstance(recipe, Recipe):
        raise JaxstyleError("this is not a recipe")
    return recipe


def read_manifest(path: str | Path) -> dict[str, Any]:
    """The manifest inside a picture.

    Raises:
      JaxstyleError: the picture has none, or one of an unknown format.
    """
    text = read_text(path).get(TEXT_KEY)
    if text is None:
        raise JaxstyleError(f"{path}: carries no jaxstyle manifest, so there is nothing to replay")
    try:
        data = json.loads(text)
    except ValueError:
        raise JaxstyleError(f"{path}: its jaxstyle manifest is damaged") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise JaxstyleError(f"{path}: its manifest is not of the format {FORMAT}")
    return data


def recorded_files(data: Mapping[str, Any], given: Files, beside: Path) -> Files:
    """The reference files of a manifest, checked by hash.

    Each is looked for where the user says, where it was, and beside the picture.

    Raises:
      JaxstyleError: one is missing or is not the file that was used.
    """
    recorded = data["references"]

    def find(entry: Mapping[str, str] | None, override: str | None, option: str) -> str | None:
        if entry is None:
            return None
        path = Path(entry["path"])
        candidates = [Path(override)] if override else [path, beside / path.name]
        found = next((candidate for candidate in candidates if candidate.is_file()), None)
        if found is None:
            raise JaxstyleError(f"{candidates[0]}: no such file; say where it is now with {option} FILE")
        if sha256(found) != entry["sha256"]:
            raise JaxstyleError(f"{found}: is not the file that was used (its SHA-256 differs)")
        return str(found)

    def find_all(key: str, overrides: tuple[str | None, ...], option: str) -> tuple[Any, ...]:
        entries = recorded.get(key, [])
        if overrides and len(overrides) != len(entries):
            raise JaxstyleError(f"the picture was made from {len(entries)} {key.replace('_', ' ')}, "
                                f"not {len(overrides)}")
        return tuple(find(entry, override, option)
                     for entry, override in zip(entries, overrides or (None,) * len(entries)))

    return Files(
        content=find(recorded["content"], given.content, "--content"),
        styles=find_all("styles", given.styles, "--style"),
        start=find(recorded["start"], given.start, "--start"),
        content_map=find(recorded.get("content_map"), given.content_map, "--content-map"),
        style_maps=find_all("style_maps", given.style_maps, "--style-map"),
        regions=find_all("regions", given.regions, "--region"),
        style_regions=find_all("style_regions", given.style_regions, "--style-mask"),
        content_mask=find(recorded.get("content_mask"), given.content_mask, "--content-mask"),
        strength_mask=find(recorded.get("strength_mask"), given.strength_mask, "--strength-mask"),
        feather=recorded.get("feather", Files().feather),
    )


def recorded_weights(data: Mapping[str, Any], name: str | None = None) -> Weights:
    """The weights of a manifest (or those called `name`), checked by hash.

    Raises:
      JaxstyleError: not found, or not the same file.
    """
    weights = load_weights(name or data["weights"]["name"])
    if weights.sha256 != data["weights"]["sha256"]:
        raise JaxstyleError(f"weights '{weights.name}' are not those that were used (SHA-256 differs)")
    return weights
