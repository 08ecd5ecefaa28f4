"""Rotated and scaled copies of a style: patches for places where the painting has none of the right turn.

As the program of Li & Wand 2016 (CNNMRF) makes them: the painting is rotated, cut to the largest upright
rectangle of its middle that has no empty corner, and scaled so that its longer side is 1.05ⁿ of the
painting's.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.ndimage import map_coordinates

from jaxstyle.errors import JaxstyleError
from jaxstyle.ops.resize import fit_shape, resize_to


def variants(rotations: int, scales: int, rotation_step: float, scale_step: float
             ) -> tuple[tuple[float, float], ...]:
    """Angle in degrees and scale of every copy, the painting itself first: (2·rotations + 1)·(2·scales +
    1)."""
    turns = [step * rotation_step for step in range(-rotations, rotations + 1)]
    sizes = [scale_step**step for step in range(-scales, scales + 1)]
    return tuple(sorted(((turn, size) for turn in turns for size in sizes), key=lambda v: v != (0.0, 1.0)))


def upright_part(height: int, width: int, degrees: float) -> tuple[int, int]:
    """Height and width of the rectangle in the middle of a rotated picture that holds no empty corner.

    Raises:
      JaxstyleError: there is none, the picture is too narrow for this angle.
    """
    cosine, sine = math.cos(math.radians(degrees)), abs(math.sin(math.radians(degrees)))
    part = math.floor(height * cosine - width * sine), math.floor(width * cosine - height * sine)
    if min(part) < 1:
        raise JaxstyleError(f"a style image of {width}×{height} pixels is too narrow to be rotated by "
                            f"{degrees:g}°; use fewer rotations or a smaller rotation_step")
    return part


def rotated(image: Array, degrees: float) -> Array:
    """`image` `[H, W, C]` rotated counter-clockwise and cut to its `upright_part`, bilinear."""
    if degrees == 0:
        return jnp.asarray(image)
    shape = image.shape[0], image.shape[1]
    height, width = upright_part(shape[0], shape[1], degrees)
    y, x = np.mgrid[:height, :width] - (np.array([height, width]) - 1)[:, None, None] / 2
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    # Where each pixel of the result comes from; rows grow downwards, so a turn to the left is +sin here.
    rows = (shape[0] - 1) / 2 + cosine * y + sine * x
    columns = (shape[1] - 1) / 2 + cosine * x - sine * y
    places = [jnp.asarray(rows, image.dtype), jnp.asarray(columns, image.dtype)]
    copied: Array = jax.vmap(lambda plane: map_coordinates(plane, places, order=1, mode="nearest"), -1, -1)(
        jnp.asarray(image))
    return copied


def copy_of(image: Array, degrees: float, scale: float, longer: int) -> Array:
    """One copy of `[H, W, C]`, whose longer side is scale · `longer` pixels (a map may be smaller than its
    image)."""
    if degrees == 0 and scale == 1:
        return image  # itself, so that its features are those that other terms look at
    turned = rotated(image, degrees)
    height, width = fit_shape(turned.shape[0], turned.shape[1], max(1, math.floor(longer * scale)))
    return resize_to(turned, height, width, "linear", clip=False)
