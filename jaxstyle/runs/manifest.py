"""Outputs that say how they were made: a manifest inside each picture, and what replaying one needs."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import load
from jaxstyle.images.maps import read_maps
from jaxstyle.images.masks import FEATHER, load_mask, load_regions
from jaxstyle.pytrees import pytree, replace, static, to_json
from jaxstyle.references import References
from jaxstyle.weights import SUFFIX
from jaxstyle.weights.store import sha256

TEXT_KEY = "jaxstyle"
FORMAT = "jaxstyle-run-2"
"""Version 1 named inputs by their whole path on the maker's machine; it is still read."""
NEAR = 5
"""Folders up from a result to where its inputs are still said to lie beside it."""
KINDS = {"photo": "content", "style": "styles", "start": "start", "map": "content_map",
         "map of the style": "style_maps", "region": "regions", "part of the style": "style_regions",
         "content mask": "content_mask", "strength mask": "strength_mask"}
"""What a reference file is, and where a manifest lists it."""


@pytree
class Files:
    """Where the reference images of a run lie.

    Attributes:
      regions: a mask for each style, None for all that no other covers; style_regions: a mask of the part of
        each style that is meant, None for all of it; feather: how soft edges of regions are made, as a share
        of the longer side of the photo.
      content_mask: how much the content counts where; strength_mask: how much is painted where.
    """

    content: str | None = static(default=None)
    styles: tuple[str, ...] = static(default=())
    start: str | None = static(default=None)
    content_map: str | None = static(default=None)
    style_maps: tuple[str, ...] = static(default=())
    regions: tuple[str | None, ...] = static(default=())
    style_regions: tuple[str | None, ...] = static(default=())
    content_mask: str | None = static(default=None)
    strength_mask: str | None = static(default=None)
    feather: float = static(default=FEATHER)

    @property
    def masks(self) -> bool:
        """Whether any mask is among them."""
        return bool(self.regions or self.style_regions or self.content_mask or self.strength_mask)


def load_references(files: Files) -> References:
    """The images that `files` names, at their own size, the maps as `images.maps` joins them, and masks at
    the size of the photo.

    Raises:
      JaxstyleError: a file is no picture, or maps or masks do not go together.
    """
    content = load(files.content) if files.content else None
    styles = tuple(load(path) for path in files.styles)
    content_map: np.ndarray | None = None
    style_maps: tuple[np.ndarray, ...] = ()
    if files.content_map:
        images = [None if content is None else (str(files.content), content), *zip(files.styles, styles)]
        content_map, style_maps = read_maps(files.content_map, files.style_maps, images)
    elif files.style_maps:
        raise JaxstyleError("the styles have maps, but what is wanted has none; give a content map")
    references = References(content=content, styles=styles, start=load(files.start) if files.start else None,
                            content_map=content_map, style_maps=style_maps)
    return replace(references, load_masks(files, references)) if files.masks else references


def load_masks(files: Files, references: References) -> dict[str, Any]:
    """Fields of `References` that hold the masks of `files`.

    Raises:
      JaxstyleError: see `load_references`.
    """
    if references.content is None:
        raise JaxstyleError("masks say what happens where in a photo; there is no content image")
    shape, styles = references.content.shape[:2], references.styles
    for name, paths in (("regions", files.regions), ("style masks", files.style_regions)):
        if paths and len(paths) != len(styles):
            raise JaxstyleError(f"{len(paths)} {name} for {len(styles)} paintings; each painting takes one")
    regions, strength = files.regions, None
    if files.strength_mask is not None:
        strength = load_mask(files.strength_mask, shape, files.feather)
    if not regions and (files.strength_mask is not None or files.style_regions):
        if len(styles) != 1:
            raise JaxstyleError("a mask with several paintings needs to know where each belongs; give "
                                "regions too")
        regions = (None,)
    content_mask = files.content_mask and load_mask(files.content_mask, shape, files.feather)
    return {"regions": load_regions(regions, shape, files.feather, strength) if regions else (),
            "style_regions": tuple(None if path is None else load_mask(path, style.shape[:2])
                                   for path, style in zip(files.style_regions, styles)),
            "content_mask": content_mask}


def manifest(recipe: Any, files: Files, weights: Weights, *, beside: Path | None = None, **outcome: Any
             ) -> dict[str, Any]:
    """Everything that made a result, ready for JSON; `outcome` adds what came of it.

    Args:
      beside: the folder that the result goes into, which the names of inputs are relative to.
    """
    def entry(path: str | None) -> dict[str, str] | None:
        return None if path is None else {"path": name_from(path, beside), "sha256": sha256(path)}

    references: dict[str, Any] = {
        "content": entry(files.content), "styles": [entry(p) for p in files.styles],
        "start": entry(files.start)}
    if files.content_map:
        references |= {"content_map": entry(files.content_map),
                       "style_maps": [entry(p) for p in files.style_maps]}
    if files.masks:
        references |= {"regions": [entry(p) for p in files.regions],
                       "style_regions": [entry(p) for p in files.style_regions],
                       "content_mask": entry(files.content_mask),
                       "strength_mask": entry(files.strength_mask), "feather": files.feather}
    return {
        "format": FORMAT,
        "recipe": to_json(recipe),
        "references": references,
        "weights": identity(weights, beside),
        "versions": versions(),
        "device": device_name(),
        **outcome,
    }


def versions() -> dict[str, str]:
    """Of Python and of the libraries that results depend on."""
    return {"python": platform.python_version(),
            **{name: version(name) for name in ("jaxstyle", "jax", "jaxlib", "jaxopt", "optax")}}


def identity(weights: Weights, beside: Path | None = None) -> dict[str, str]:
    """What a manifest says of weights: their name (of a file see `name_from`) and hash."""
    name = name_from(weights.name, beside) if weights.name.endswith(SUFFIX) else weights.name
    return {"name": name, "sha256": weights.sha256}


def name_from(path: str, folder: Path | None) -> str:
    """A file as a manifest names it: from the folder of the result where it lies in or beside that, else by
    its name alone, so that nothing is said of the maker's machine."""
    if folder is None:
        return Path(path).name
    whole, home = Path(path).resolve(), folder.resolve()
    above = (home, *list(home.parents)[:NEAR])
    near = next((parent for parent in above if whole.is_relative_to(parent)), None)
    up = 0 if near is None else len(home.parts) - len(near.parts)
    if near is None or near == Path(near.anchor):
        return whole.name
    return Path(*[".."] * up, whole.relative_to(near)).as_posix()


def device_name() -> str:
    """Platform and kind of the device that JAX computes on, e.g. "cpu" or "gpu (NVIDIA H200)"."""
    device = jax.devices()[0]
    kind = device.device_kind
    return device.platform if kind.lower() == device.platform else f"{device.platform} ({kind})"


def fingerprint(record: Mapping[str, Any]) -> str:
    """Hash of what makes a lane's result: its recipe, and its inputs by content."""
    references = json.loads(json.dumps(record["references"]))
    for _, entry in recorded_entries(references):
        del entry["path"]
    weights = record["weights"]["sha256"] or record["weights"]["name"]
    text = json.dumps([record["recipe"], references, weights], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def recorded_entries(references: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """Every reference file of a manifest: what it is, of `KINDS`, and {"path", "sha256"}."""
    found = []
    for kind, key in KINDS.items():
        entries = references.get(key) or []
        found += [(kind, entry) for entry in (entries if isinstance(entries, list) else [entries]) if entry]
    return found
