"""A recipe at another size, with another number of steps, or with strokes that keep their size."""

from __future__ import annotations

import dataclasses

from jaxstyle.errors import JaxstyleError, one_of
from jaxstyle.pytrees import replace
from jaxstyle.transfer.recipe import Recipe

STROKES = ("picture", "pixels")
FEWEST_STEPS = 20


def with_size(recipe: Recipe, size: int) -> Recipe:
    """The recipe at another size: the last stage's longer side becomes `size`, earlier ones in proportion
    (but not below 64 pixels, where deep layers have nothing left to see; one that would repeat the size of
    the next is left out).

    Raises:
      JaxstyleError: `size` is below 1.
    """
    *earlier, last = recipe.stages
    scale = 1.0 if last.size is None else size / last.size
    sizes = [max(min(size, 64), round((stage.size or size) * scale)) for stage in earlier] + [size]
    coarse = [dataclasses.replace(stage, size=at, by="longer")
              for at, after, stage in zip(sizes, sizes[1:], earlier)
              if (at != after or stage.without) and size > 0]
    return replace(recipe, {"stages": (*coarse, dataclasses.replace(last, size=size, by="longer"))})


def with_steps(recipe: Recipe, steps: int) -> Recipe:
    """The recipe with `steps` solver steps in all, shared among its stages as before (each at least 1).

    Raises:
      JaxstyleError: fewer steps than stages.
    """
    if steps < len(recipe.stages):
        raise JaxstyleError(f"{len(recipe.stages)} stages need at least as many steps, not {steps}")
    total, left = recipe.total_steps, steps
    stages = []
    for index, stage in enumerate(recipe.stages):
        behind = len(recipe.stages) - index - 1
        share = min(left - behind, max(1, round(stage.steps * steps / total))) if behind else left
        stages.append(dataclasses.replace(stage, steps=share))
        left -= share
    return replace(recipe, {"stages": tuple(stages)})


def with_strokes(recipe: Recipe, size: int, strokes: str) -> Recipe:
    """The recipe at another size of the last stage's longer side, with strokes of a chosen size.

    "picture": as large relative to the picture as the recipe makes them. It runs as it is, and then goes on
    at twice the size and fewer steps, again and again, which adds detail to what is there.
    "pixels": as many pixels wide as the recipe makes them; the painting stays as large as it was.

    Raises:
      JaxstyleError: `size` is below that of the recipe's last stage, or another kind of strokes.
    """
    one_of("scale_strokes", strokes, STROKES)
    last = recipe.stages[-1]
    own = last.size or size
    if size < own:
        raise JaxstyleError(f"strokes are scaled for sizes above the recipe's own {own}, not {size}")
    if strokes == "pixels":
        stages = tuple(dataclasses.replace(stage, size=round((stage.size or own) * size / own), by="longer")
                       for stage in recipe.stages)
        return replace(recipe, {"stages": stages, "style_scale": recipe.style_scale * own / size})
    stages, now, steps = recipe.stages, own, last.steps
    while now < size:
        now, steps = min(2 * now, size), max(FEWEST_STEPS, steps // 2)
        stages = (*stages, dataclasses.replace(last, size=now, steps=steps, by="longer"))
    return replace(recipe, {"stages": stages})
