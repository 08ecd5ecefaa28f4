"""Terms of the image alone: smoothness, closeness to the content's pixels, staying in range."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxstyle.errors import JaxstyleError, one_of
from jaxstyle.losses.look import Features, Look
from jaxstyle.pytrees import pytree, static
from jaxstyle.references import References

FORMS = ("squared", "l1", "power")
REDUCTIONS = ("mean", "sum")


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


def range_penalty(image: Array) -> Array:
    """Mean squared distance of pixel values from [0, 1]."""
    return jnp.mean(jnp.square(image - jnp.clip(image, 0, 1)))


@pytree
class TotalVariation:
    """Smoothness of the image; see `total_variation` for form and reduction."""

    weight: Any = 1.0
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
        """`total_variation` of the image, without `weight`."""
        return total_variation(image, self.form, self.reduction)


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
