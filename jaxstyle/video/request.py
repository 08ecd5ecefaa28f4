"""What a video is made of, resolved: from options or from a manifest to a `Job`, and back to a manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import load
from jaxstyle.losses import TERMS
from jaxstyle.ops.resize import fit_shape
from jaxstyle.pytrees import from_json
from jaxstyle.runs.manifest import Files, device_name, manifest, name_from, versions
from jaxstyle.solvers import SOLVERS
from jaxstyle.transfer.canvas import CANVASES
from jaxstyle.transfer.recipe import Recipe, Stage, Start
from jaxstyle.video import folder as files
from jaxstyle.video.estimate import flow_source
from jaxstyle.video.files.encode import check_target
from jaxstyle.video.files.frames import Selection, Source, numbered, open_source
from jaxstyle.video.make import Job
from jaxstyle.video.optimise import paint_frame
from jaxstyle.video.recipe import VideoRecipe, with_video_size
from jaxstyle.video.sequence import Paint
from jaxstyle.video.steady import paint_fast
from jaxstyle.weights import SUFFIX
from jaxstyle.weights.store import load_weights, sha256

Apply = Callable[[Array], Array]
"""A feed-forward network: image `[H, W, 3]` in [0, 1] -> image of equal shape."""
DEFAULT_SIZE = 512
FAST_CUT = 0.4


@dataclass(frozen=True)
class Request:
    """A video to be made.

    Attributes:
      source: a video file or a folder of frames; output: likewise.
      styles, recipe, weights: of an optimised video; model: of a fast one (its file; see `Apply`).
      start, end: seconds as fractions ("10", "21/2"); every, rate, size: which frames, how fast those of a
        folder are shown, and the longer side of the results; None: `DEFAULT_SIZE` at most, a model's as large
        as IN.
      blend: shares of a model's styles; stabilise: see `steady`; flow: a folder of .flo files; crf, sound: of
        the file to be written.
    """

    source: Path
    output: Path
    styles: tuple[str, ...] = ()
    recipe: VideoRecipe | None = None
    weights: str | None = None
    model: str | None = None
    start: str = "0"
    end: str | None = None
    every: int = 1
    rate: str = "24"
    size: int | None = None
    blend: str = ""
    stabilise: float = 0.8
    flow: str | None = None
    crf: int | None = None
    sound: bool = True

    def selection(self) -> Selection:
        """The frames asked for."""
        return Selection(start=Fraction(self.start), every=self.every,
                         end=None if self.end is None else Fraction(self.end))


def check_request(request: Request) -> None:
    """Raise before any work if the video could not be written in the end, or numbers make no sense.

    Raises:
      JaxstyleError: says what is wrong.
    """
    if files.is_video(request.output):
        check_target(request.output)
    if not request.output.parent.is_dir():
        raise JaxstyleError(f"{request.output}: its folder does not exist; create it first")
    if files.is_video(request.output) and request.output.is_dir():
        raise JaxstyleError(f"{request.output}: is a folder; add a file name")
    if request.output.resolve() == request.source.resolve():
        raise JaxstyleError(f"{request.output}: is the video itself; choose another name")
    if not 0 <= request.stabilise <= 1:
        raise JaxstyleError(f"stabilise takes a share from 0 to 1, not {request.stabilise:g}")
    if request.crf is not None and not 0 <= request.crf <= 63:
        raise JaxstyleError(f"crf takes a number from 0 (lossless) to 63, not {request.crf}")
    if request.size is not None and request.size < 16:
        raise JaxstyleError(f"size {request.size}: frames need at least 16 pixels on their longer side")
    if (request.recipe is None) == (request.model is None):
        raise JaxstyleError("give a painting, or a model of a fast network: one of them")


def output_shape(source: Source, request: Request) -> tuple[int, int]:
    """Height and width of the results: of the source's proportions; even numbers for a video file."""
    longer = max(source.height, source.width)
    size = request.size or (longer if request.model else min(longer, DEFAULT_SIZE))
    height, width = fit_shape(source.height, source.width, size)
    if files.is_video(request.output):
        return max(2, height // 2 * 2), max(2, width // 2 * 2)
    return height, width


def job_from(request: Request, apply: Apply | None = None, measure: bool = False) -> Job:
    """Opens what a request names.

    Args:
      apply: the network of `request.model`.

    Raises:
      JaxstyleError: see `open_source`, `load`, `load_weights`.
    """
    check_request(request)
    source = open_source(request.source, request.selection(), Fraction(request.rate))
    height, width = output_shape(source, request)
    if apply is not None:
        paint: Paint = partial(paint_fast, apply, request.stabilise)
        offsets: tuple[int, ...] = (1,) if request.stabilise > 0 else ()
        cut, weights = FAST_CUT, None
    else:
        assert request.recipe is not None and request.weights is not None
        recipe = with_video_size(request.recipe, max(height, width))
        weights = load_weights(request.weights)
        styles = tuple(jnp.asarray(load(path)) for path in request.styles)
        paint = partial(paint_frame, weights, styles, recipe)
        offsets, cut = recipe.offsets, float(recipe.cut)
    flow_of = flow_source(None if request.flow is None else Path(request.flow),
                          files.work_folder(request.output) / files.FLOW)
    return Job(source=source, selection=request.selection(), output=request.output, height=height,
               width=width, paint=paint, offsets=offsets, cut=cut, flow_of=flow_of, crf=request.crf,
               sound=request.sound, measure=measure, manifest=record(request, weights))


def record(request: Request, weights: Weights | None) -> dict[str, Any]:
    """The manifest of a video."""
    if weights is None:
        made = manifest_of_model(request)
    else:
        made = manifest(request.recipe, Files(styles=request.styles), weights, beside=request.output.parent)
    how = {"source": entry(request.source, request),
           "start": request.start, "end": request.end, "every": request.every, "rate": request.rate,
           "size": request.size,
           "stabilise": request.stabilise if request.model else None, "blend": request.blend,
           "flow": None if request.flow is None else name_from(request.flow, request.output.parent),
           "even": files.is_video(request.output)}
    return {**made, "format": files.FORMAT, "video": how}


def manifest_of_model(request: Request) -> dict[str, Any]:
    """The part of a manifest that says which network made the frames."""
    assert request.model is not None
    return {"model": entry(Path(request.model), request), "versions": versions(), "device": device_name()}


def entry(path: Path, request: Request) -> dict[str, str]:
    """A file or folder as the manifest of a video names it."""
    return {"path": name_from(str(path), request.output.parent), "sha256": source_hash(path)}


def source_hash(path: Path) -> str:
    """SHA-256 of a file, or of those of all files of a folder."""
    if not path.is_dir():
        return sha256(path)
    parts = [path for _, path in numbered(path)] if _has_pictures(path) else sorted(
        part for part in path.rglob("*") if part.is_file())
    return hashlib.sha256("".join(sha256(part) for part in parts).encode()).hexdigest()


def _has_pictures(folder: Path) -> bool:
    try:
        return bool(numbered(folder))
    except JaxstyleError:
        return False


def request_from(data: Mapping[str, Any], output: Path, source: Path | None = None,
              styles: tuple[str, ...] = (), weights: str | None = None, model: str | None = None) -> Request:
    """The request of a recorded video; files that have moved are named anew.

    Raises:
      JaxstyleError: a file is missing or is not the one that was used.
    """
    how = data["video"]

    def same(entry: Mapping[str, str], given: str | Path | None, option: str) -> Path:
        path = Path(given or entry["path"])
        if not path.exists():
            raise JaxstyleError(f"{path}: there is no such file; say where it is now ({option})")
        if source_hash(path) != entry["sha256"]:
            raise JaxstyleError(f"{path}: is not what was used (its SHA-256 differs)")
        return path

    found: dict[str, Any] = {}
    if "model" in data:
        found["model"] = str(same(data["model"], model, "model"))
        found |= {"stabilise": how["stabilise"], "blend": how["blend"]}
    else:
        entries = data["references"]["styles"]
        given = styles or (None,) * len(entries)
        if len(given) != len(entries):
            raise JaxstyleError(f"the video was made from {len(entries)} paintings, not {len(given)}")
        found["styles"] = tuple(str(same(entry, path, "style")) for entry, path in zip(entries, given))
        found["recipe"] = recipe_from(data["recipe"])
        found["weights"] = weights or data["weights"]["name"]
        if load_weights(found["weights"]).sha256 != data["weights"]["sha256"]:
            raise JaxstyleError(f"weights '{found['weights']}' are not those that were used (SHA-256 "
                                "differs)")
    return Request(source=same(how["source"], source, "content"), output=output, start=how["start"],
                end=how["end"], every=how["every"], rate=how["rate"], size=how["size"], flow=how["flow"],
                **found)


def located(data: Mapping[str, Any], home: Path) -> dict[str, Any]:
    """The manifest of a video in the folder `home`, its files as seen from here where they are there."""
    def here(entry: Mapping[str, Any], key: str) -> dict[str, Any]:
        places = (home / entry[key], home / Path(entry[key]).name)
        found = next((place for place in places if place.exists()), None)
        return {**entry, key: entry[key] if found is None else str(found)}

    how = {**data["video"], "source": here(data["video"]["source"], "path")}
    if how["flow"] is not None:
        how = here(how, "flow")
    if "model" in data:
        return {**data, "video": how, "model": here(data["model"], "path")}
    styles = [here(entry, "path") for entry in data["references"]["styles"]]
    weights = data["weights"]
    if weights["name"].endswith(SUFFIX):
        weights = here(weights, "name")
    return {**data, "video": how, "references": {**data["references"], "styles": styles}, "weights": weights}


def recipe_from(data: Any) -> VideoRecipe:
    """A video recipe from the form that `to_json` gave it.

    Raises:
      JaxstyleError: it is none.
    """
    recipe = from_json(data, (VideoRecipe, Recipe, Stage, Start, *CANVASES, *TERMS, *SOLVERS))
    if not isinstance(recipe, VideoRecipe):
        raise JaxstyleError("this is not a recipe of a video")
    return recipe
