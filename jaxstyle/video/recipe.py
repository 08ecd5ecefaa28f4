"""What a stylised video is made of: a recipe for first frames, one for the frames that follow."""

from __future__ import annotations

from typing import Any

from jaxstyle.errors import JaxstyleError, one_of
from jaxstyle.losses.temporal import Temporal
from jaxstyle.pytrees import pytree, replace, static
from jaxstyle.transfer import presets
from jaxstyle.transfer.recipe import Recipe, Stage, Start


@pytree
class VideoRecipe:
    """How frames are painted one after the other.

    Attributes:
      first: the recipe of a first frame, and of the first one after a scene cut.
      following: the recipe of all others; it starts from the earlier result, moved along the flow.
      cut: a scene begins where less than this share of a frame is consistent with the frame before.
      tolerance: a frame is done when its loss fell by a smaller share over the last `window` steps; 0: never.
      blend: share δ of the neighbour's result in the start of a frame, in passes after the first.
      offsets: how many frames back the temporal term looks, the closest first; none: every frame on its own.
      passes: sweeps over the video, forwards and backwards in turn; 1: one, frame after frame.
      window: see `tolerance`.
    """

    first: Recipe
    following: Recipe
    cut: Any = 0.4
    tolerance: Any = 0.0
    blend: Any = 0.5
    offsets: tuple[int, ...] = static(default=(1,))
    passes: int = static(default=1)
    window: int = static(default=50)

    def __post_init__(self) -> None:
        offsets = list(self.offsets)
        if offsets != sorted(set(offsets)) or any(offset < 1 for offset in offsets):
            raise JaxstyleError(f"offsets are frames back, ascending from 1, each once, not {self.offsets}")
        if self.passes < 1 or self.window < 1:
            raise JaxstyleError("passes and window take numbers of at least 1, not "
                                f"{self.passes}, {self.window}")
        if self.passes > 1 and self.offsets != (1,):
            raise JaxstyleError("several passes look at the neighbouring frame only: offsets (1,)")


def consistent(recipe: Recipe, weight: float, steps: int) -> Recipe:
    """A recipe for the frames after a first one: one stage from the moved result, with a temporal term."""
    last = recipe.stages[-1]
    return replace(recipe, {
        "terms": {**recipe.terms, "temporal": Temporal(weight=weight)},
        "start": Start(noise=0.0, base="image"),
        "stages": (Stage(size=last.size, steps=steps, by=last.by),)})


def with_video_size(recipe: VideoRecipe, size: int) -> VideoRecipe:
    """The recipe at another size: longer side of the results."""
    return replace(recipe, {"first": presets.with_size(recipe.first, size),
                            "following": presets.with_size(recipe.following, size)})


QUICK = VideoRecipe(first=presets.GRAM, following=consistent(presets.GRAM, 100.0, 30))
"""Ours: the recipe `gram` for a first frame, then 30 steps for each."""

LONG_TERM = replace(QUICK, {"offsets": (1, 2, 4)})
"""Ours, looking back 1, 2 and 4 frames: what was hidden for a moment comes back as it was."""

MULTI_PASS = replace(QUICK, {"passes": 7, "first": presets.with_steps(presets.GRAM, 60)})
"""Ours in seven sweeps (Ruder et al., section 4.3): borders of the picture and disoccluded places look as the
rest."""

FRAME_BY_FRAME = replace(QUICK, {"offsets": ()})
"""Every frame on its own, by the recipe `gram`: it pops."""

ARTISTIC_VIDEOS = VideoRecipe(
    first=replace(presets.NEURAL_STYLE, {"stages": (Stage(size=512, steps=2000),)}),
    following=consistent(presets.NEURAL_STYLE, 1e3 * 255**2, 1000),
    tolerance=1e-4,
)
"""Ruder, Dosovitskiy & Brox's program artistic-videos with its default flags: content 5, style 100, temporal
1000, total variation 1e-3, the first frame from noise with 2000 steps, the others from the moved result with
1000, each until the loss falls by less than 1e-4 of itself over 50 steps.

The temporal weight is for pixels in 0..255 there and converted here. Deviations: those of `neural-style`, on
whose terms it builds; disoccluded places start from the content (the program leaves there what the warp
brings). Its weights are meant for Oxford's VGG-19 (`vgg19`).
"""


def catalogue() -> dict[str, tuple[VideoRecipe, str]]:
    """Every video recipe by its name, with one line on what it is."""
    return {
        "quick": (QUICK, "ours: each frame from the last one's moved result, 30 steps"),
        "long-term": (LONG_TERM, "the same, looking back 1, 2 and 4 frames"),
        "multi-pass": (MULTI_PASS, "ours in seven sweeps, forwards and backwards"),
        "frame-by-frame": (FRAME_BY_FRAME, "every frame on its own, which pops"),
        "artistic-videos": (ARTISTIC_VIDEOS, "Ruder et al. 2016 as coded, for the weights `vgg19`"),
    }


def named(name: str) -> VideoRecipe:
    """A video recipe by name.

    Raises:
      JaxstyleError: there is none; the message lists the names.
    """
    known = catalogue()
    one_of("video recipe", name, known)
    return known[name][0]
