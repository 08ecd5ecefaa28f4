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
    """

    content: Any = None
    styles: tuple[Any, ...] = ()
    start: Any = None
    content_map: Any = None
    style_maps: tuple[Any, ...] = ()
    first: Any = None
    seed: Any = None
    earlier: tuple[Any, ...] = ()
