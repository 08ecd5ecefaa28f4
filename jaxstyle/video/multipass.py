"""Several passes over a video, forwards and backwards in turn (Ruder, Dosovitskiy & Brox 2016, section
4.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.pytrees import replace
from jaxstyle.references import References
from jaxstyle.video import folder as files
from jaxstyle.video.estimate import FlowOf
from jaxstyle.video.files.frames import Frame, Source, ahead, read
from jaxstyle.video.optimise import moved, run_frame, to_bytes, to_float
from jaxstyle.video.recipe import VideoRecipe
from jaxstyle.video.sequence import share_consistent


def pass_folder(work: Path, number: int) -> Path:
    """Where the results of a pass lie."""
    return work / f"pass-{number:02d}"


@jax.jit
def blended(before: Array, warped: Array, weights: Array, blend: Any) -> Array:
    """Start of a frame in a later pass (equations 11 and 12): δ c ω + (1 − δ c) x.

    Args:
      before: x, the frame's result in the pass before; warped: ω, the neighbour's in this one, `[H, W, 3]`.
      weights: c `[H, W]`; blend: δ.
    """
    share = blend * weights[..., None]
    mixed: Array = share * warped + (1 - share) * before
    return mixed


@dataclass(frozen=True)
class MultiPass:
    """A video that is made in several passes.

    Attributes:
      weights, styles, recipe: what each frame is run with; source: where frames come from; flow_of: the flow
        between two of them; work: folder for the results of passes; shape: (height, width) of results.
    """

    weights: Weights
    styles: tuple[Any, ...]
    recipe: VideoRecipe
    source: Source
    flow_of: FlowOf
    work: Path
    shape: tuple[int, int]


def passes(video: MultiPass) -> Iterator[tuple[int, int]]:
    """Makes the results of all passes; yields the numbers of the pass and of the frame that is done.

    Each frame is run on its own in the first pass; then forwards and backwards in turn from a blend of its
    own and its neighbour's result, with the temporal term in the later half of the passes (the authors leave
    it out at first, too).
    """
    recipe, source, work, shape = video.recipe, video.source, video.work, video.shape
    originals = work / "pass-99"
    originals.mkdir(exist_ok=True)
    missing = [i for i in range(len(source.times)) if files.read_frame(originals, i, *shape) is None]
    if missing:
        for index, frame in enumerate(ahead(read(source, *shape))):
            files.write_frame(originals, index, frame.image)
    for number in range(recipe.passes):
        folder = pass_folder(work, number)
        folder.mkdir(exist_ok=True)
        count = len(source.times)
        backwards = number % 2 == 1
        for index in range(count - 1, -1, -1) if backwards else range(count):
            if files.read_frame(folder, index, *shape) is None:
                files.write_frame(folder, index, _frame(video, number, index))
            yield number, index


def _frame(video: MultiPass, number: int, index: int) -> np.ndarray:
    recipe, source, work, shape = video.recipe, video.source, video.work, video.shape

    def original(i: int) -> Frame:
        return Frame(source.numbers[i], source.times[i], kept(work / "pass-99", i, shape))

    content = to_float(original(index).image)
    run = partial(run_frame, video.weights, tolerance=float(recipe.tolerance), window=recipe.window)
    if number == 0:
        return to_bytes(run(References(content=content, styles=video.styles), recipe.first).image)
    before = to_float(kept(pass_folder(work, number - 1), index, shape))
    neighbour = index + 1 if number % 2 else index - 1
    none = jnp.zeros(shape, content.dtype)
    warped, c = before, none
    if 0 <= neighbour < len(source.times):
        backward, forward = video.flow_of(original(min(index, neighbour)), original(max(index, neighbour)))
        flows = (backward, forward) if neighbour < index else (forward, backward)
        if share_consistent(flows)[1] >= recipe.cut:
            warped, c, _ = moved(kept(pass_folder(work, number), neighbour, shape), *flows)
    weight = recipe.following.terms["temporal"].weight if 2 * number >= recipe.passes else 0.0
    references = References(content=content, styles=video.styles,
                            start=blended(before, warped, c, recipe.blend),
                            earlier=(jnp.concatenate([warped, c[..., None]], -1),))
    following = replace(recipe.following, {"terms.temporal.weight": weight})
    return to_bytes(run(references, following).image)


def kept(folder: Path, index: int, shape: tuple[int, int]) -> np.ndarray:
    """A frame that an earlier pass left."""
    image = files.read_frame(folder, index, *shape)
    assert image is not None, f"{files.frame_path(folder, index)} went while it was needed"
    return image


def last_pass(work: Path, recipe: VideoRecipe, shape: tuple[int, int]) -> Callable[[int], np.ndarray]:
    """The finished results."""
    return lambda index: kept(pass_folder(work, recipe.passes - 1), index, shape)
