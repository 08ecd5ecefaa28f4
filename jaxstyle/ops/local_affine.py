"""Local affine models of one picture in the colours of another: windows, guided filter, matting residual."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax


def window_element(x: Array, index: Any, size: int) -> Array:
    """The `index`-th of the size² elements of every size×size window inside `[H, W, C]`, row by row, as
    `[H − size + 1, W − size + 1, C]`."""
    shape = (x.shape[0] - size + 1, x.shape[1] - size + 1, x.shape[2])
    return lax.dynamic_slice(x, (index // size, index % size, 0), shape)


def window_mean(x: Array, size: int) -> Array:
    """Mean of every window inside, `[H, W, C]` -> `[H − size + 1, W − size + 1, C]`."""
    zero = np.zeros((), x.dtype)  # no tracer, else JAX does not see that this is a sum, which it can derive
    total = lax.reduce_window(x, zero, lax.add, (size, 1, 1), (1, 1, 1), "VALID")
    total = lax.reduce_window(total, zero, lax.add, (1, size, 1), (1, 1, 1), "VALID")
    mean: Array = total / size**2
    return mean


def mean_around(x: Array, radius: int) -> Array:
    """Mean of the square of 2·radius + 1 pixels a side around every position of `[H, W, C]`; beyond its rim a
    picture goes on as it ends."""
    rims = ((radius, radius), (radius, radius), (0, 0))
    return window_mean(jnp.pad(x, rims, mode="edge"), 2 * radius + 1)


def factorised(guide: Array, epsilon: Any, size: int = 3) -> tuple[Array, ...]:
    """Cholesky factors of Σ_w (I − Ī)(I − Ī)ᵀ + ε for every window of a guide I `[H, W, 3]`.

    Sums are of centred values, for in float32 the difference of sums would be worth more than ε = 1e-7.

    Returns:
      l11, l21, l22, l31, l32, l33, each `[H − size + 1, W − size + 1]`.
    """
    mean = window_mean(guide, size)

    def add(index: Array, sums: Array) -> Array:
        r, g, b = jnp.moveaxis(window_element(guide, index, size) - mean, -1, 0)
        return sums + jnp.stack((r * r, g * r, g * g, b * r, b * g, b * b))

    # A loop, not size² copies of its body: programs stay small, and so does what they hold.
    sums = lax.fori_loop(0, size**2, add, jnp.zeros((6, *mean.shape[:2]), guide.dtype))
    rr, gr, gg, br, bg, bb = sums
    # What rounding leaves of a pivot is at least the ε that was added to it.
    l11 = jnp.sqrt(rr + epsilon)
    l21, l31 = gr / l11, br / l11
    l22 = jnp.sqrt(jnp.maximum(gg + epsilon - l21 * l21, epsilon))
    l32 = (bg - l31 * l21) / l22
    l33 = jnp.sqrt(jnp.maximum(bb + epsilon - l31 * l31 - l32 * l32, epsilon))
    return l11, l21, l22, l31, l32, l33


def solved(factor: tuple[Array, ...], right: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    """x of L Lᵀ x = right, for the factors of `factorised`; right: three arrays that broadcast with them."""
    l11, l21, l22, l31, l32, l33 = factor
    y1 = right[0] / l11
    y2 = (right[1] - l21 * y1) / l22
    y3 = (right[2] - l31 * y1 - l32 * y2) / l33
    x3 = y3 / l33
    x2 = (y2 - l32 * x3) / l22
    return (y1 - l21 * x2 - l31 * x3) / l11, x2, x3


def guided_filter(image: Array, guide: Array, radius: int, epsilon: Any) -> Array:
    """An image `[H, W, C]` as local affine functions of the colours of a guide `[H, W, 3]`.

    He, Sun & Tang 2010, equations 19–21: over every window of radius r the a, b that minimise
    Σ (p − aᵀI − b)² + n ε |a|², averaged over the windows that cover a pixel. Edges are those of the guide,
    and everything that is no function of its colours nearby is smoothed away. Windows are mirrored at the
    border.
    """
    size = 2 * radius + 1
    pads = ((radius, radius), (radius, radius), (0, 0))
    fits = min(image.shape[:2]) > radius

    def mean(x: Array) -> Array:
        return window_mean(jnp.pad(x, pads, mode="reflect" if fits else "edge"), size)

    # Colours around their mean: covariances are differences of sums, and so lose fewer digits.
    base = jnp.mean(image, axis=(0, 1), keepdims=True)
    guide, image = guide - jnp.mean(guide, axis=(0, 1), keepdims=True), image - base
    channels = [guide[..., k : k + 1] for k in range(3)]
    means, mean_image = [mean(c) for c in channels], mean(image)
    pairs = [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]
    rr, gr, gg, br, bg, bb = (mean(channels[i] * channels[j]) - means[i] * means[j] for i, j in pairs)
    l11 = jnp.sqrt(jnp.maximum(rr, 0) + epsilon)
    l21, l31 = gr / l11, br / l11
    l22 = jnp.sqrt(jnp.maximum(gg + epsilon - l21 * l21, epsilon))
    l32 = (bg - l31 * l21) / l22
    l33 = jnp.sqrt(jnp.maximum(bb + epsilon - l31 * l31 - l32 * l32, epsilon))
    right = tuple(mean(c * image) - m * mean_image for c, m in zip(channels, means))
    slopes = solved((l11, l21, l22, l31, l32, l33), right)  # type: ignore[arg-type]
    offsets = mean_image - sum((a * m for a, m in zip(slopes, means)), start=jnp.zeros((), image.dtype))
    smooth = sum((mean(a) * c for a, c in zip(slopes, channels)), start=mean(offsets))
    return smooth + base
