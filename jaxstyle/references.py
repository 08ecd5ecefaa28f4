"""The images a result is made from."""

from __future__ import annotations

from typing import Any

from jaxstyle.pytrees import pytree


@pytree
class References:
    """What the result should resemble.

    Attributes:
      content: the photograph `[H, W, 3]`, RGB in [0, 1]; None for pure texture synthesis.
      styles: the paintings, each `[H, W, 3]` of any size.
      start: image to start from, for `Start(base="image")`.
      content_map: what is where in the result, `[H, W, M]` in [0, 1] with any number of channels: a
        semantic map for terms that match patches. Without a content image it gives the result its shape.
      style_maps: the same for each style; maps go with all styles and the content, or with none.
      first, seed: the image that the stage begins with and the seed of the recipe, while terms set their
        targets; nobody else sets them.
      earlier: results of other frames of a video, moved onto this one, each `[H, W, 4]`: RGB, and how much
        each place of it counts (`losses.temporal`).
      regions: where in the result each style belongs, `[H, W]` in [0, 1] each, adding up to at most 1: what
        is left keeps the photo. One for each style, or none: then all styles are blended everywhere.
      style_regions: which part of each style is meant, `[h, w]` or None (all of it) each; or none at all.
      content_mask: how much the content counts at each position, `[H, W]` in [0, 1]; None: 1 everywhere.
    """

    content: Any = None
    styles: tuple[Any, ...] = ()
    start: Any = None
    content_map: Any = None
    style_maps: tuple[Any, ...] = ()
    first: Any = None
    seed: Any = None
    earlier: tuple[Any, ...] = ()
    regions: tuple[Any, ...] = ()
    style_regions: tuple[Any, ...] = ()
    content_mask: Any = None
