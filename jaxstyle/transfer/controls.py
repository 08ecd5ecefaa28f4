"""What is done to the pictures before a run and to its result: colours, regions, the photo's drawing.

Before: `prepared` changes the reference images of a stage. After: `finished` makes the picture that is shown
and saved of what the solver found. Neither touches the loop; both are pure functions under `jit` and `vmap`.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxstyle.errors import JaxstyleError, one_of
from jaxstyle.images.masks import class_masks
from jaxstyle.losses import Gram, Neighbours
from jaxstyle.losses.guided import GuidedGram
from jaxstyle.ops.colors import spaces as color
from jaxstyle.ops.local_affine import guided_filter
from jaxstyle.ops.poisson import screen_for, screened_poisson
from jaxstyle.ops.resize import resize_to
from jaxstyle.pytrees import pytree, replace, static
from jaxstyle.references import References
from jaxstyle.transfer.inputs import sized
from jaxstyle.transfer.recipe import Recipe


@pytree
class KeepColors:
    """Only lightness is transferred; the result has the photo's colours (Gatys et al. 2016, section 3.2).

    Photo and painting become grey, the painting's mean lightness is moved to the photo's, and the lightness
    of what comes out gets the photo's colours back.

    Attributes:
      space: "oklab" (ours, even for the eye) or "yiq" (as published).
      spread: give the painting the photo's standard deviation of lightness too.
    """

    space: str = static(default="oklab")
    spread: bool = static(default=False)

    def __post_init__(self) -> None:
        one_of("colour space", self.space, color.SPACES)

    def before(self, references: References) -> References:
        """Grey references."""
        photo = _photo(references, "keeping its colours")
        start = references.start
        return replace(references, {
            "content": color.greyed(photo, self.space),
            "styles": tuple(color.shifted_luminance(style, photo, self.space, self.spread)
                            for style in references.styles),
            "start": None if start is None else color.greyed(start, self.space)})

    def after(self, image: Array, photo: Array) -> Array:
        """The lightness of an image `[H, W, 3]` in the photo's colours."""
        return color.with_colours_of(image, photo, self.space)


@pytree
class MatchColors:
    """The paintings get the photo's colours before the transfer (Gatys et al. 2016, section 3.1).

    Attributes:
      method: how covariances are matched, see `ops.colors.spaces.colour_map`.
    """

    method: str = static(default="monge-kantorovich")

    def __post_init__(self) -> None:
        one_of("colour match", self.method, color.MATCHES)

    def before(self, references: References) -> References:
        """References with recoloured styles."""
        photo = _photo(references, "matching its colours")
        styles = tuple(jnp.clip(color.matched(style, photo, self.method), 0, 1)
                       for style in references.styles)
        return replace(references, {"styles": styles})

    def after(self, image: Array, photo: Array) -> Array:
        """Nothing more to do."""
        return image


@pytree
class LocalAffine:
    """Makes the result a local affine function of the photo's colours, so that edges are the photo's alone.

    The last step of Luan et al. 2017's program. Deviation: the models of overlapping windows are averaged (a
    guided filter) where theirs are blended by a bilateral filter.

    Attributes:
      radius: of a window, in pixels of a picture whose longer side is 512; epsilon: larger is smoother.
    """

    epsilon: Any = 1e-3
    radius: int = static(default=10)

    def __post_init__(self) -> None:
        if not isinstance(self.radius, int) or self.radius < 1:
            raise JaxstyleError(f"the radius of smoothing is a whole number of at least 1, not {self.radius}")

    def after(self, image: Array, photo: Array) -> Array:
        """The image `[H, W, 3]`, smoothed along the photo."""
        radius = max(1, round(self.radius * max(photo.shape[:2]) / 512))
        return guided_filter(image, photo, radius, self.epsilon)


CONTROLS = (KeepColors, MatchColors, LocalAffine)


def _photo(references: References, what: str) -> Array:
    if references.content is None:
        raise JaxstyleError(f"{what} needs a photo; there is no content image")
    return jnp.asarray(references.content)


def named_colors(name: str) -> Any:
    """What "painting" (None: nothing is done), "keep" and "match" stand for.

    Raises:
      JaxstyleError: another name.
    """
    choices: dict[str, Any] = {"painting": None, "keep": KeepColors(), "match": MatchColors()}
    if name == "none":  # as a recipe is printed
        return None
    one_of("colors", name, tuple(choices))
    return choices[name]


def named_smoothing(name: str) -> Any:
    """What "none" and "local-affine" stand for.

    Raises:
      JaxstyleError: another name.
    """
    choices: dict[str, Any] = {"none": None, "local-affine": LocalAffine()}
    one_of("smoothing", name, tuple(choices))
    return choices[name]


def by_region(recipe: Recipe) -> Recipe:
    """The recipe with a `GuidedGram` in place of every `Gram`, which has no regions."""
    terms = {name: GuidedGram(weight=term.weight, layer_weights=term.layer_weights, layers=term.layers,
                              normalization=term.normalization) if isinstance(term, Gram) else term
             for name, term in recipe.terms.items()}
    return dataclasses.replace(recipe, terms=terms)


def by_class(references: References, recipe: Recipe) -> References:
    """References whose semantic maps are regions, if the recipe has a `GuidedGram` and there are no regions.

    Each class of the map is a region that takes its style from the same class of the painting, as in Luan et
    al. 2017. It looks at the values of the maps, so it is for the host.

    Raises:
      JaxstyleError: maps with several paintings.
    """
    guided = any(isinstance(term, GuidedGram) for term in recipe.terms.values())
    if not guided or references.regions or references.content_map is None:
        return references
    if len(references.styles) != 1 or len(references.style_maps) != 1:
        raise JaxstyleError("Gram matrices by class of a map take one painting and its map; for several "
                            "paintings give regions")
    height, width = references.content_map.shape[:2]
    if references.content is not None:
        height, width = references.content.shape[:2]
    style = references.styles[0]
    theirs = resize_to(references.style_maps[0], style.shape[0], style.shape[1], "nearest")
    regions, parts = class_masks(resize_to(references.content_map, height, width, "nearest"), theirs)
    return dataclasses.replace(references, styles=(style,) * len(regions), regions=tuple(regions),
                               style_regions=tuple(parts), content_map=None, style_maps=())


def prepared(references: References, recipe: Recipe) -> References:
    """The (already fitted) references that a run looks at."""
    return references if recipe.colors is None else recipe.colors.before(references)


def finished(image: Any, references: References, recipe: Recipe, stage: int = -1) -> Array:
    """The picture `[H, W, 3]` in [0, 1] that is shown of the image of a stage.

    Args:
      references: as given, of any size.

    Raises:
      JaxstyleError: a control needs a photo and there is none, or an amount outside 0 … 1.
    """
    check_controls(references, recipe)
    if not changes_result(references, recipe):
        return jnp.clip(image, 0, 1)
    steps = (recipe.colors, recipe.smoothing, recipe.photo_gradients)
    size = recipe.stages[stage]
    given = dataclasses.replace(references, styles=(), style_maps=(), style_regions=(), start=None,
                                content_map=None, content_mask=None, regions=())
    shares = tuple(references.regions)
    done: Array = _finished(jnp.asarray(image), given, shares, steps, replace(size, {"steps": 1}))
    return done


def changes_result(references: References, recipe: Recipe) -> bool:
    """Whether `finished` does more than clip."""
    steps = (recipe.colors, recipe.smoothing, recipe.photo_gradients)
    return bool(references.regions) or any(step is not None for step in steps)


def check_controls(references: References, recipe: Recipe) -> None:
    """Raises:
      JaxstyleError: a control needs a photo and there is none, or an amount outside 0 … 1.
    """
    if references.content is None:
        if recipe.smoothing is not None or recipe.photo_gradients is not None:
            raise JaxstyleError("smoothing and photo_gradients need a photo; there is no content image")
        if recipe.colors is not None:
            _photo(references, "a choice of colors")
    amount = recipe.photo_gradients
    if isinstance(amount, int | float) and not 0 <= amount <= 1:
        raise JaxstyleError(f"photo_gradients is a number from 0 (painting) to 1 (photo), not {amount}")
    if amount is not None and isinstance(amount, str):
        raise JaxstyleError(f"photo_gradients is a number from 0 (painting) to 1 (photo), not '{amount}'")


@partial(jax.jit, static_argnames="stage")
def _finished(image: Array, references: References, regions: tuple[Array, ...], steps: tuple[Any, Any, Any],
              stage: Any) -> Array:
    colors, smoothing, gradients = steps
    fitted = sized(references, stage, 1.0)
    photo = fitted.content
    image = jnp.clip(image, 0, 1)
    if colors is not None:
        image = colors.after(image, photo)
    if smoothing is not None:
        image = smoothing.after(image, photo)
    if gradients is not None:
        image = screened_poisson(image, photo, screen_for(gradients, max(photo.shape[:2])))
    if regions:
        painted = sum(regions, start=jnp.zeros((), image.dtype))
        painted = resize_to(painted, image.shape[0], image.shape[1], "linear")[..., None]
        image = painted * image + (1 - painted) * photo
    return jnp.clip(image, 0, 1)


def as_one_style(recipe: Recipe, shares: tuple[float, ...] = ()) -> Recipe:
    """The recipe for many paintings that are one style (an author's, a movement's).

    Neighbours are sought in all paintings together (patches always are); where paintings are blended, as Gram
    matrices and colours are, they count by `shares`, equally if there are none.
    """
    changes: dict[str, Any] = {}
    for name, term in recipe.terms.items():
        if isinstance(term, Neighbours):
            changes[f"terms.{name}.pooled"] = True
        if hasattr(term, "blend"):
            changes[f"terms.{name}.blend"] = shares
    return replace(recipe, changes)
