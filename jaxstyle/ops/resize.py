"""Shapes of the same proportions, and resizing, in pure JAX."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxstyle.errors import JaxstyleError

_METHODS = ("lanczos3", "lanczos5", "cubic", "linear", "nearest")


def fit_shape(height: int, width: int, size: int, by: str = "longer") -> tuple[int, int]:
    """The (height, width) of the same proportions, rounded and at least 1, whose `longer` or
    `shorter` side is `size` pixels, or whose `area` is that of a square of `size` pixels. Raises
    `JaxstyleError`."""
    if min(height, width, size) < 1:
        raise JaxstyleError(f"size {size} for a picture of {width}×{height}: use at least 1 pixel")
    if by == "area":
        scale = size / math.sqrt(height * width)
        return max(1, math.floor(height * scale + 0.5)), max(1, math.floor(width * scale + 0.5))
    if by not in ("longer", "shorter"):
        raise JaxstyleError(f"by = {by!r}: use longer, shorter or area")
    side = max(height, width) if by == "longer" else min(height, width)
    # Whole numbers, so that the named side is exactly `size` and halves go up on every machine.
    return (
        max(1, (2 * height * size + side) // (2 * side)),
        max(1, (2 * width * size + side) // (2 * side)),
    )


def resize(
    image: jax.Array | np.ndarray,
    size: int,
    by: str = "longer",
    method: str = "lanczos3",
    clip: bool = True,
) -> jax.Array:
    """`image` [H, W] or [H, W, C] at the shape `fit_shape(H, W, size, by)`; see `resize_to`. `size`
    is static."""
    height, width = fit_shape(image.shape[0], image.shape[1], size, by)
    return resize_to(image, height, width, method, clip)


def resize_to(
    image: jax.Array | np.ndarray,
    height: int,
    width: int,
    method: str = "lanczos3",
    clip: bool = True,
) -> jax.Array:
    """`image` [H, W] or [H, W, C] at exactly `height` × `width` pixels: pure JAX, for use under
    `jit` and `vmap`.

    Reduction is antialiased (but for `nearest`). Methods: lanczos3, lanczos5, cubic, linear,
    nearest. The Lanczos and cubic kernels overshoot at edges: `clip` brings the result back to [0,
    1]; turn it off for values that live elsewhere. Raises `JaxstyleError` for an unknown method or
    an empty shape.
    """
    if method not in _METHODS:
        raise JaxstyleError(f"resize method {method!r}: use one of {', '.join(_METHODS)}")
    if image.ndim not in (2, 3) or min(height, width, *image.shape) < 1:
        raise JaxstyleError(
            f"cannot resize an array of shape {tuple(image.shape)} to {width}×{height};"
            " give [H, W] or [H, W, C] and at least 1 pixel"
        )
    image = jnp.asarray(image)
    resized = jax.image.resize(image, (height, width, *image.shape[2:]), method, antialias=True)
    return jnp.clip(resized, 0, 1) if clip else resized
