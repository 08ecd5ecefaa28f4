"""Terms of the image alone: smoothness, closeness to the content's pixels, range, gamut and palette."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxstyle.errors import JaxstyleError, one_of
from jaxstyle.losses.checks import blend_weights
from jaxstyle.losses.look import Features, Look
from jaxstyle.ops.colors.palette import directions
from jaxstyle.ops.colors.spaces import LUMA
from jaxstyle.pytrees import pytree, static
from jaxstyle.references import References

FORMS = ("squared", "l1", "power")
REDUCTIONS = ("mean", "sum")
LEAST_DEVIATION = 0.03
MOST_COLOURS = 1 << 17
"""Pixels of a picture whose colours are sorted; of a larger one the means of blocks."""


def total_variation(image: Array, form: str = "squared", reduction: str = "mean") -> Array:
    """Differences between neighbouring pixels of `[H, W, C]`, dx to the right and dy downwards.

    "squared": dx² + dy² (Mahendran & Vedaldi 2015 with β = 2).
    "l1": |dx| + |dy| (anisotropic; Rudin, Osher & Fatemi 1992).
    "power": (dx² + dy²)^1.25 over the positions that have both neighbours (β = 2.5; Champandard's
    neural doodle).

    "sum" adds over the image; "mean" averages dx and dy each over their own entries, so that the value
    does not depend on the size of the image.
    """
    dx, dy = image[:, 1:] - image[:, :-1], image[1:] - image[:-1]
    add = jnp.sum if reduction == "sum" else jnp.mean
    if form == "power":
        return add((jnp.square(dx[:-1]) + jnp.square(dy[:, :-1])) ** 1.25)
    of = jnp.square if form == "squared" else jnp.abs
    return add(of(dx)) + add(of(dy))


def chroma(image: Array) -> Array:
    """What `[H, W, 3]` has beyond its luminance (Rec. 601), which is grey: `[H, W, 3]`."""
    grey: Array = jnp.matmul(image, jnp.asarray(LUMA, image.dtype), precision=lax.Precision.HIGHEST)
    return image - grey[..., None]


def range_penalty(image: Array) -> Array:
    """Mean squared distance of pixel values from [0, 1]."""
    return jnp.mean(jnp.square(image - jnp.clip(image, 0, 1)))


def colour_statistics(image: Array) -> tuple[Array, Array]:
    """Mean `[3]` and inverse covariance `[3, 3]` of the colours of `[H, W, 3]`; a deviation of less than
    `LEAST_DEVIATION` along any direction counts as that much."""
    flat = image.reshape(-1, 3)
    mean = flat.mean(axis=0)
    spread = (flat - mean[None]).T @ (flat - mean[None]) / flat.shape[0]
    return mean, jnp.linalg.inv(spread + LEAST_DEVIATION**2 * jnp.eye(3, dtype=image.dtype))


def gamut_penalty(image: Array, palettes: Sequence[tuple[Array, Array]], reach: Any) -> Array:
    """Mean over pixels of max(0, d²/reach² − 1)², d being the Mahalanobis distance from the nearest palette.

    Args:
      image: `[H, W, 3]`; palettes: of `colour_statistics`.
      reach: how many deviations from the mean are free.
    """
    def squared(mean: Array, precision: Array) -> Array:
        away = image - mean[None, None]
        return jnp.einsum("hwi,ij,hwj->hw", away, precision, away)

    nearest = jnp.stack([squared(*palette) for palette in palettes]).min(axis=0)
    return jnp.mean(jnp.square(jnp.maximum(nearest / jnp.square(reach) - 1, 0)))


def colours_along(image: Array, count: int) -> Array:
    """Colours of `[H, W, 3]` projected onto `count` `directions`: `[N, count]` for N positions. Where there
    are more than `MOST_COLOURS` pixels, a position is the mean of a block of them."""
    height, width, _ = image.shape
    side = math.ceil(math.sqrt(height * width / MOST_COLOURS))
    if side > 1:
        whole = image[: height // side * side, : width // side * side]
        image = whole.reshape(height // side, side, width // side, side, 3).mean(axis=(1, 3))
    return jnp.matmul(image.reshape(-1, 3), directions(count).astype(image.dtype),
                      precision=lax.Precision.HIGHEST)


def quantiles(values: Sequence[Array], shares: Sequence[Any], count: int) -> Array:
    """`count` quantiles, at (i + ½)/count, of a mixture of samples `[N, D]`, each with its share: `[count,
    D]`, the least samples that so much of the mixture does not exceed."""
    total = sum(shares)
    weight = jnp.concatenate([jnp.full(len(x), share / total / len(x)) for x, share in zip(values, shares)])

    def along(x: Array) -> Array:
        order = jnp.argsort(x)
        upto = jnp.cumsum(weight[order])
        return x[order][jnp.searchsorted(upto, (jnp.arange(count) + 0.5) / count * upto[-1])]

    found: Array = jax.vmap(along, in_axes=1, out_axes=1)(jnp.concatenate(values))
    return found


@pytree
class Palette:
    """Gives the image the paintings' colours, in the paintings' shares: the sliced Wasserstein distance of
    colours (Rabin, Peyré, Delon & Bernot 2011; Heitz et al. 2021 for features).

    Mean over directions in RGB, and over all positions, of the squared difference between the colours of the
    image along that direction, sorted, and those of the paintings. Several paintings are mixed; with regions
    by what they cover, and what is left has the photo's colours.

    Attributes:
      weight: factor of the whole term.
      blend: shares of the styles, scaled to sum to 1; empty means equal ones.
      directions: how many; each costs a sort.
    """

    weight: Any = 1.0
    blend: tuple[Any, ...] = ()
    directions: int = static(default=6)
    layers: tuple[str, ...] = static(default=())

    def __post_init__(self) -> None:
        if self.directions < 3:
            raise JaxstyleError(f"palette directions is {self.directions}; colours need at least 3")

    def target(self, references: References, look: Look) -> Array:
        """Sorted colours of the paintings along each direction, as many as the image has: `[N, D]`."""
        if not references.styles or (content := references.content) is None:
            raise JaxstyleError("the palette term needs a content image and at least one style image")
        pictures, shares = list(references.styles), list(blend_weights(self.blend, len(references.styles)))
        if references.regions:
            shares = [mask.mean() for mask in references.regions]
            pictures, shares = [*pictures, content], [*shares, 1 - sum(shares)]
        count = len(colours_along(content, self.directions))
        return quantiles([colours_along(x, self.directions) for x in pictures], shares, count)

    def loss(self, image: Array, features: Features, target: Array) -> Array:
        """The distance, without `weight`."""
        return jnp.mean(jnp.square(jnp.sort(colours_along(image, self.directions), axis=0) - target))


@pytree
class TotalVariation:
    """Smoothness of the image; see `total_variation` for form and reduction.

    Attributes:
      weight: factor of the whole term.
      chroma: how often that of the image's `chroma` counts beside that of the image (ours): against coloured
        speckle, which luminance, with its strokes, need not pay for.
    """

    weight: Any = 1.0
    chroma: Any = 0.0
    form: str = static(default="squared")
    reduction: str = static(default="mean")
    layers: tuple[str, ...] = static(default=())

    def __post_init__(self) -> None:
        one_of("total variation form", self.form, FORMS)
        one_of("total variation reduction", self.reduction, REDUCTIONS)

    def target(self, references: References, look: Look) -> tuple[()]:
        """Nothing to prepare."""
        return ()

    def loss(self, image: Array, features: Features, target: tuple[()]) -> Array:
        """`total_variation` of the image, and of its chroma, without `weight`."""
        coloured = self.chroma * total_variation(chroma(image), self.form, self.reduction)
        total: Array = total_variation(image, self.form, self.reduction) + coloured
        return total


@pytree
class Pixel:
    """Mean squared distance to the content image's pixels."""

    weight: Any = 1.0
    layers: tuple[str, ...] = static(default=())

    def target(self, references: References, look: Look) -> Array:
        """The content image `[H, W, 3]`."""
        if references.content is None:
            raise JaxstyleError("the pixel term needs a content image")
        content: Array = references.content
        return content

    def loss(self, image: Array, features: Features, target: Array) -> Array:
        """mean (x − c)², without `weight`."""
        return jnp.mean(jnp.square(image - target))


@pytree
class Range:
    """Keeps pixel values in [0, 1]; see `range_penalty`."""

    weight: Any = 1.0
    layers: tuple[str, ...] = static(default=())

    def target(self, references: References, look: Look) -> tuple[()]:
        """Nothing to prepare."""
        return ()

    def loss(self, image: Array, features: Features, target: tuple[()]) -> Array:
        """`range_penalty` of the image, without `weight`."""
        return range_penalty(image)


@pytree
class Gamut:
    """Keeps colours among those that the paintings have; see `gamut_penalty` (ours).

    Gram matrices and cosines leave it open how bright or saturated a small place is; without a bound it may
    end in primary colours that no painter mixed.

    Attributes:
      weight: factor of the whole term; reach: see `gamut_penalty`.
    """

    weight: Any = 1.0
    reach: Any = 3.5
    layers: tuple[str, ...] = static(default=())

    def target(self, references: References, look: Look) -> tuple[tuple[Array, Array], ...]:
        """Colour statistics of every style."""
        if not references.styles:
            raise JaxstyleError("the gamut term needs at least one style image")
        return tuple(map(colour_statistics, references.styles))

    def loss(self, image: Array, features: Features, target: tuple[tuple[Array, Array], ...]) -> Array:
        """`gamut_penalty` of the image, without `weight`."""
        return gamut_penalty(image, target, self.reach)
