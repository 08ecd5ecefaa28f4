"""The reference images at the size of a stage, and the image that a run begins with."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import Any

import jax
from jax import Array

from jaxstyle.errors import JaxstyleError
from jaxstyle.ops.resize import fit_shape, resize, resize_to
from jaxstyle.pytrees import replace
from jaxstyle.references import References
from jaxstyle.solvers import ScipyLbfgsb
from jaxstyle.transfer.recipe import Recipe, Stage, Start


def sized(references: References, stage: Stage, style_scale: float) -> References:
    """The reference images at the size of a stage, each with its own aspect ratio, maps like their images.

    It is compiled by itself, so that programs know the size of the stage alone and photos of any size share
    them.

    Raises:
      JaxstyleError: maps for some images only, or with differing numbers of channels.
    """
    check_maps(references)
    check_regions(references)
    sized_references: References = _sized(references, replace(stage, {"steps": 1}), style_scale)
    return sized_references


@partial(jax.jit, static_argnames=("stage", "style_scale"))
def _sized(references: References, stage: Stage, style_scale: float) -> References:
    content, styles = references.content, references.styles
    content_map, start = references.content_map, references.start
    if stage.size is not None:
        size = max(1, round(stage.size * style_scale))
        styles = tuple(resize(style, size, stage.by) for style in styles)
        if content is not None:
            content = resize(content, stage.size, stage.by)
        elif content_map is not None:
            content_map = resize(content_map, stage.size, stage.by, "linear")
    like = frame(References(content=content, styles=styles, content_map=content_map))
    height, width = like.shape[:2]
    return References(
        content=content, styles=styles,
        start=None if start is None else resize_to(start, height, width),
        content_map=None if content_map is None else resize_to(content_map, height, width, "linear"),
        style_maps=tuple(resize_to(semantic, style.shape[0], style.shape[1], "linear")
                         for semantic, style in zip(references.style_maps, styles)),
        earlier=tuple(resize_to(other, height, width, "linear") for other in references.earlier),
        regions=tuple(resize_to(mask, height, width, "linear") for mask in references.regions),
        style_regions=tuple(
            None if mask is None else resize_to(mask, style.shape[0], style.shape[1], "linear")
            for mask, style in zip(references.style_regions, styles)),
        content_mask=None if references.content_mask is None
        else resize_to(references.content_mask, height, width, "linear"),
    )


def check_maps(references: References) -> None:
    """Raise unless there are maps for the content and for every style, of equal depth, or none at all."""
    maps = references.style_maps
    if references.content_map is None:
        if maps:
            raise JaxstyleError("the styles have maps, but what is wanted has none; give a content map")
    elif len(maps) != len(references.styles):
        raise JaxstyleError(f"{len(maps)} style maps for {len(references.styles)} style images; "
                            "with a content map every style needs one")
    elif any(semantic.shape[2] != references.content_map.shape[2] for semantic in maps):
        raise JaxstyleError("the maps differ in their number of channels")


def check_regions(references: References) -> None:
    """Raise unless there is a region for every style or for none, and a photo if there are masks."""
    regions, parts, styles = references.regions, references.style_regions, references.styles
    if regions and len(regions) != len(styles):
        raise JaxstyleError(f"{len(regions)} regions for {len(styles)} style images; give one for each "
                            "or none")
    if parts and len(parts) != len(styles):
        raise JaxstyleError(f"{len(parts)} style_regions for {len(styles)} style images; give one for each "
                            "(None for a whole one), or none")
    if references.content is None and (references.content_mask is not None
                                       or (regions and references.content_map is None)):
        raise JaxstyleError("masks say what happens where in a photo; there is no content image")


def frame(references: References) -> Array:
    """The image whose height and width the result has: the content, else its map, else the first style.

    Raises:
      JaxstyleError: there is none of them.
    """
    if references.content is not None:
        content: Array = references.content
        return content
    if references.content_map is not None:
        drawn: Array = references.content_map
        return drawn
    if not references.styles:
        raise JaxstyleError("neither a content nor a style image was given")
    style: Array = references.styles[0]
    return style


def stage_shape(references: References, stage: Stage) -> tuple[int, int]:
    """Height and width of the result of a stage."""
    height, width = frame(references).shape[:2]
    return (height, width) if stage.size is None else fit_shape(height, width, stage.size, stage.by)


def check_split(references: References, recipe: Recipe, count: int) -> None:
    """Raises:
      JaxstyleError: the result of some stage cannot be split over `count` devices, or the recipe not at all.
    """
    if recipe.rows is not None:
        raise JaxstyleError(f"{recipe.rows} rows at a time or {count} devices, not both; leave one out")
    if isinstance(recipe.solver, ScipyLbfgsb):
        raise JaxstyleError("ScipyLbfgsb runs on the host and cannot be split over devices; use Lbfgs")
    for stage in recipe.stages:
        height, width = stage_shape(references, stage)
        if height % count:
            size = stage.size or max(height, width)
            near = sorted(range(1, 3 * size), key=lambda other: abs(other - size))
            good = (n for n in near
                    if stage_shape(references, replace(stage, {"size": n}))[0] % count == 0)
            raise JaxstyleError(f"{width}×{height} pixels: {height} rows cannot be split over {count} "
                                f"devices; sizes that can: {' and '.join(map(str, islice(good, 2)))}")


def first_image(references: References, start: Start, seed: Any) -> Array:
    """The image a run begins with, in the shape of the (already fitted) content."""
    like = frame(references)
    height, width, _ = shape = (*like.shape[:2], 3)
    base = {"content": references.content, "style": references.styles[0] if references.styles else None,
            "image": references.start}[start.base]
    if base is None and start.base != "content":
        raise JaxstyleError(f"the recipe starts from the {start.base}, but none was given")
    key = jax.random.key(seed)
    if start.distribution == "normal":
        noise = 0.5 + start.deviation * jax.random.normal(key, shape, like.dtype)
    else:
        noise = 0.5 + start.deviation * jax.random.uniform(key, shape, like.dtype, -1, 1)
    if base is None:
        grain: Array = noise
        return grain
    mixed: Array = (1 - start.noise) * resize_to(base, height, width) + start.noise * noise
    return mixed
