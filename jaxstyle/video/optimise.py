"""One frame of a video as one run of the loop, which starts from earlier results moved onto it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.losses.temporal import long_term_weights
from jaxstyle.ops.warp import warp_cubic
from jaxstyle.references import References
from jaxstyle.transfer.loop import Snapshot, stylize_iter
from jaxstyle.transfer.recipe import Recipe
from jaxstyle.video.flow import consistency, disoccluded
from jaxstyle.video.recipe import VideoRecipe


@dataclass(frozen=True)
class Earlier:
    """Another frame of the same scene: its pixels and its result, uint8 `[H, W, 3]`, the flow from the
    present frame to it (`backward`) and from it (`forward`), float32 `[H, W, 2]`."""

    image: np.ndarray
    result: np.ndarray
    backward: np.ndarray
    forward: np.ndarray


def to_float(image: Any) -> Array:
    """uint8 -> float32 in [0, 1]."""
    return jnp.asarray(image, jnp.float32) / 255


def to_bytes(image: Any) -> np.ndarray:
    """[0, 1] -> uint8, rounded."""
    levels: np.ndarray = np.clip(np.asarray(image, np.float32), 0, 1) * np.float32(255)
    whole: np.ndarray = np.rint(levels).astype(np.uint8)
    return whole


@jax.jit
def moved(result: Array, backward: Array, forward: Array) -> tuple[Array, Array, Array]:
    """A result uint8 `[H, W, 3]` moved along the flow, in [0, 1]; its weights c `[H, W]`; where it was
    seen."""
    warped = jnp.clip(warp_cubic(to_float(result), backward), 0, 1)
    return (warped, consistency(backward, forward),
            jnp.where(disoccluded(backward, forward), 0.0, 1.0))


@jax.jit
def first_guess(content: Array, warped: tuple[Array, ...], seen: tuple[Array, ...]) -> Array:
    """The closest earlier result that shows a place; the content where none does: `[H, W, 3]`."""
    start = content
    for image, mask in reversed(list(zip(warped, seen))):
        start = mask[..., None] * image + (1 - mask[..., None]) * start
    return start


def run_frame(weights: Weights, references: References, recipe: Recipe, tolerance: float, window: int
              ) -> Snapshot:
    """A run of the loop that ends when it is done, or when its last stage has settled."""
    losses: list[float] = []
    for snapshot in stylize_iter(weights, references, recipe, every=window):
        if snapshot.stage + 1 < len(recipe.stages):
            continue
        losses.extend(np.asarray(snapshot.losses.get("total", ())).tolist())
        if snapshot.step % window == 0 and settled(losses, window, tolerance):
            break
    return snapshot


def settled(losses: Sequence[float], window: int, tolerance: float) -> bool:
    """Whether the loss fell by less than `tolerance` of itself over the last `window` steps."""
    if tolerance <= 0 or len(losses) <= window:
        return False
    return losses[-1 - window] - losses[-1] < tolerance * abs(losses[-1 - window])


def paint_frame(
    weights: Weights, styles: tuple[Any, ...], recipe: VideoRecipe, image: np.ndarray,
    earlier: Sequence[Earlier | None],
) -> tuple[np.ndarray, dict[str, float]]:
    """The result of one frame, uint8 `[H, W, 3]`, and its loss and steps.

    Args:
      earlier: one for each of `recipe.offsets`, None where the scene does not go back so far; none at all: a
        first frame.
    """
    content = to_float(image)
    if all(one is None for one in earlier):
        references = References(content=content, styles=styles)
        chosen = recipe.first
    else:
        references = with_earlier(content, styles, earlier)
        chosen = recipe.following
    snapshot = run_frame(weights, references, chosen, float(recipe.tolerance), recipe.window)
    best = snapshot.search.best
    return to_bytes(snapshot.image), {"loss": float(best.value), "steps": snapshot.step}


def with_earlier(content: Array, styles: tuple[Any, ...], earlier: Sequence[Earlier | None]) -> References:
    """References of a frame that follows others; the missing ones weigh nothing, so that shapes never
    change."""
    none = jnp.zeros(content.shape[:2], content.dtype)
    found = [(content, none, none) if one is None else moved(one.result, one.backward, one.forward)
             for one in earlier]
    warped, consistencies, seen = (tuple(parts) for parts in zip(*found))
    start = first_guess(content, warped, seen)
    weighed = long_term_weights(consistencies)
    return References(content=content, styles=styles, start=start,
                      earlier=tuple(jnp.concatenate([image, weight[..., None]], -1)
                                    for image, weight in zip(warped, weighed)))
