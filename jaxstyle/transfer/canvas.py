"""What a solver moves: coefficients that a pure function turns into the image."""

from __future__ import annotations

from typing import Any, Protocol

from jax import Array

from jaxstyle.pytrees import pytree


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


CANVASES = (Pixels,)
