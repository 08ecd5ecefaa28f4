"""Outputs that say how they were made: a manifest inside each picture, and what replaying one needs."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from jaxstyle.errors import JaxstyleError
from jaxstyle.images import load, read_text
from jaxstyle.losses import TERMS
from jaxstyle.pytrees import from_json, pytree, static, to_json
from jaxstyle.recipe import Recipe, Stage, Start
from jaxstyle.references import References
from jaxstyle.solvers import SOLVERS
from jaxstyle.weights import Weights, load_weights, sha256

TEXT_KEY = "jaxstyle"
FORMAT = "jaxstyle-run-1"


@pytree
class Files:
    """Where the reference images of a run lie."""

    content: str | None = static(default=None)
    styles: tuple[str, ...] = static(default=())
    start: str | None = static(default=None)
    content_map: str | None = static(default=None)
    style_maps: tuple[str, ...] = static(default=())


def load_references(files: Files) -> References:
    """The images that `files` names, at their own size."""
    return References(
        content=load(files.content) if files.content else None,
        styles=tuple(load(path) for path in files.styles),
        start=load(files.start) if files.start else None,
        content_map=load(files.content_map) if files.content_map else None,
        style_maps=tuple(load(path) for path in files.style_maps),
    )


def manifest(recipe: Recipe, files: Files, weights: Weights, **outcome: Any) -> dict[str, Any]:
    """Everything that made a result, ready for JSON; `outcome` adds what came of it."""
    def entry(path: str | None) -> dict[str, str] | None:
        return None if path is None else {"path": str(Path(path).resolve()), "sha256": sha256(path)}

    references: dict[str, Any] = {
        "content": entry(files.content), "styles": [entry(p) for p in files.styles],
        "start": entry(files.start)}
    if files.content_map:
        references |= {"content_map": entry(files.content_map),
                       "style_maps": [entry(p) for p in files.style_maps]}
    return {
        "format": FORMAT,
        "recipe": to_json(recipe),
        "references": references,
        "weights": identity(weights),
        "versions": {"python": platform.python_version(),
                     **{name: version(name) for name in ("jaxstyle", "jax", "jaxlib", "jaxopt", "optax")}},
        "device": device_name(),
        **outcome,
    }


def identity(weights: Weights) -> dict[str, str]:
    """What a manifest says of weights: their name and hash."""
    return {"name": absolute(weights.name), "sha256": weights.sha256}


def absolute(name: str) -> str:
    """The name of weights as a later run elsewhere can find them: files by their whole path."""
    return str(Path(name).resolve()) if name.endswith(".safetensors") else name


def device_name() -> str:
    """Platform and kind of the device that JAX computes on, e.g. "cpu" or "gpu (NVIDIA H200)"."""
    device = jax.devices()[0]
    kind = device.device_kind
    return device.platform if kind.lower() == device.platform else f"{device.platform} ({kind})"


def recipe_from_json(data: Any) -> Recipe:
    """A recipe from the form that `to_json` gave it.

    Raises:
      JaxstyleError: it is not a recipe, or one with terms or settings that this version does not know.
    """
    recipe = from_json(data, (Recipe, Stage, Start, *TERMS, *SOLVERS))
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

    def find_all(key: str, overrides: tuple[str, ...], option: str) -> tuple[str, ...]:
        entries = recorded.get(key, [])
        if overrides and len(overrides) != len(entries):
            raise JaxstyleError(f"the picture was made from {len(entries)} {key.replace('_', ' ')}, "
                                f"not {len(overrides)}")
        return tuple(str(find(entry, override, option))
                     for entry, override in zip(entries, overrides or (None,) * len(entries)))

    return Files(
        content=find(recorded["content"], given.content, "--content"),
        styles=find_all("styles", given.styles, "--style"),
        start=find(recorded["start"], given.start, "--start"),
        content_map=find(recorded.get("content_map"), given.content_map, "--content-map"),
        style_maps=find_all("style_maps", given.style_maps, "--style-map"),
    )


def recorded_entries(references: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """Every reference file of a manifest: what it is and {"path", "sha256"}."""
    kinds = {"photo": "content", "style": "styles", "start": "start", "map": "content_map",
             "map of the style": "style_maps"}
    found = []
    for kind, key in kinds.items():
        entries = references.get(key) or []
        found += [(kind, entry) for entry in (entries if isinstance(entries, list) else [entries])]
    return found


def recorded_weights(data: Mapping[str, Any], name: str | None = None) -> Weights:
    """The weights of a manifest (or those called `name`), checked by hash.

    Raises:
      JaxstyleError: not found, or not the same file.
    """
    weights = load_weights(name or data["weights"]["name"])
    if weights.sha256 != data["weights"]["sha256"]:
        raise JaxstyleError(f"weights '{weights.name}' are not those that were used (SHA-256 differs)")
    return weights
