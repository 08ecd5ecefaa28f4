"""What a solver moves: coefficients that a pure function turns into the image."""

from __future__ import annotations

from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from jaxstyle.errors import JaxstyleError
from jaxstyle.ops.resize import resize_to
from jaxstyle.pytrees import pytree, static


class Canvas(Protocol):
    """An image `[H, W, 3]` as coefficients (any pytree of arrays), and back."""

    def encode(self, image: Array) -> Any:
        """Coefficients of an image: `decode` gives it back, up to rounding."""

    def decode(self, coefficients: Any) -> Array:
        """The image that coefficients stand for."""


@pytree
class Pixels:
    """The image itself."""

    def encode(self, image: Array) -> Array:
        """The image."""
        return image

    def decode(self, coefficients: Array) -> Array:
        """The image."""
        return coefficients


@pytree
class LaplacianPyramid:
    """The image as bands of a Laplacian pyramid (Burt & Adelson 1983): each is what halving and doubling the
    size loses, the last is the smallest image itself. A coefficient of a coarse band moves many pixels at
    once, so large structure changes as fast as small.

    Attributes:
      gain: of each band over the next finer one. 1: coefficients are the bands' values, as the programs of
        STROTSS and Neural Neighbor have it; 0.5 makes all coefficients move the image by equal root mean
        squares, which L-BFGS needs.
      levels: bands beside the smallest image; fewer where the image is too small to be halved.
      bounded: whether `decode` squashes into (0, 1): σ(4(z − ½)), of slope 1 at mid-grey. Then every solver
        stays in range, and `encode` gives back the image but for values within 1/500 of black and white.
    """

    gain: Any = 0.5
    levels: int = static(default=5)
    bounded: bool = static(default=True)

    def __post_init__(self) -> None:
        if self.levels < 0:
            raise JaxstyleError(f"a Laplacian pyramid has at least 0 levels, not {self.levels}")

    def encode(self, image: Array) -> tuple[Array, ...]:
        """Bands, the finest first, each divided by its gain."""
        rest = unsquashed(image) if self.bounded else image
        bands = []
        for _ in range(self.levels):
            if min(rest.shape[:2]) < 2:
                break
            smaller = halved(rest)
            bands.append(rest - enlarged(smaller, rest))
            rest = smaller
        return tuple(band / self.gain**k for k, band in enumerate((*bands, rest)))

    def decode(self, coefficients: tuple[Array, ...]) -> Array:
        """The sum of all bands, enlarged."""
        bands = [band * self.gain**k for k, band in enumerate(coefficients)]
        image = bands[-1]
        for band in bands[-2::-1]:
            image = band + enlarged(image, band)
        return jax.nn.sigmoid(4 * (image - 0.5)) if self.bounded else image


def unsquashed(image: Array) -> Array:
    """What `LaplacianPyramid.decode` squashes to an image, whose values are kept from 0 and 1 by 1/500."""
    inside = jnp.clip(image, 0.002, 0.998)
    return 0.5 + (jnp.log(inside) - jnp.log1p(-inside)) / 4


def halved(image: Array) -> Array:
    """At half the height and width, rounded down."""
    return resize_to(image, image.shape[0] // 2, image.shape[1] // 2, "linear", clip=False)


def enlarged(image: Array, like: Array) -> Array:
    """At the height and width of another image."""
    return resize_to(image, like.shape[0], like.shape[1], "linear", clip=False)


CANVASES = (Pixels, LaplacianPyramid)
