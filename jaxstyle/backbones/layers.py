"""What backbones share: the convolution layer, pooling of any window, walking to a layer."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import flax.linen as nn
import jax.numpy as jnp
from jax import Array, lax

from jaxstyle import ops
from jaxstyle.errors import JaxstyleError


class Conv(nn.Module):
    """Convolution whose parameters may be raw or prepared by `ops.prepare`.

    Attributes:
      features: output channels.
      size: side of the square kernel.
      padding: pixels added on each side; None keeps the size at stride 1.
    """

    features: int
    size: int
    stride: int = 1
    padding: int | None = None
    border: str = "zero"

    @nn.compact
    def __call__(self, x: Array, relu: bool = False) -> Array:
        """`[H, W, I]` -> `[H', W', features]`."""
        if self.is_initializing():
            shape = (self.size, self.size, x.shape[-1], self.features)
            self.param("kernel", nn.initializers.he_normal(), shape)
            self.param("bias", nn.initializers.zeros_init(), (self.features,))
        return ops.conv(
            x, self.variables["params"], border=self.border, stride=self.stride,
            padding=self.padding, relu=relu,
        )


Steps = Generator[tuple[str, Array], None, Array]
"""The layers of a part of a network one by one, with their names; gives the output of the last one back."""


def collect(
    steps: Iterator[tuple[str, Array]], layers: tuple[str, ...]
) -> dict[str, Array]:
    """The named features out of a network's steps, which run only as far as the last one needed.

    Raises:
      JaxstyleError: the image is too small to reach a layer.
    """
    missing, found = set(layers), {}
    while missing:
        name, x = next(steps)
        if 0 in x.shape:
            raise JaxstyleError(f"the image is too small for layer {name}; use a larger one", "size")
        if name in missing:
            found[name] = x
            missing.remove(name)
    return found


def pool(
    x: Array, kind: str, size: int, stride: int, padding: int = 0, ceil: bool = False
) -> Array:
    """Maximum or mean of windows, `[H, W, C]` -> `[H', W', C]`.

    Args:
      kind: "max" or "average"; the mean is over the pixels of the window that lie inside the image.
      ceil: H' is rounded up, so that the last window may hang over the border (Caffe's rule).
    """
    pads = tuple((padding, padding + _overhang(n + 2 * padding, size, stride, ceil))
                 for n in x.shape[:2])
    window = ((size, size, 1), (stride, stride, 1), (*pads, (0, 0)))
    if kind == "max":
        largest: Array = lax.reduce_window(x, -jnp.inf, lax.max, *window)
        return largest
    total = lax.reduce_window(x, 0.0, lax.add, *window)
    inside = lax.reduce_window(jnp.ones((*x.shape[:2], 1), x.dtype), 0.0, lax.add, *window)
    mean: Array = total / inside
    return mean


def _overhang(length: int, size: int, stride: int, ceil: bool) -> int:
    """Pixels that the last window reaches beyond the end when their number is rounded up."""
    return -(length - size) % stride if ceil and length > size - stride else 0


def local_response_norm(x: Array) -> Array:
    """x / (1 + 1e-4/5 · Σ x² over five neighbouring channels)^0.75, `[H, W, C]`.

    Krizhevsky et al. 2012, section 3.3, with the constants and the scaling of Caffe's LRN layer.
    """
    window = ((1, 1, 5), (1, 1, 1), ((0, 0), (0, 0), (2, 2)))
    total = lax.reduce_window(x * x, 0.0, lax.add, *window)
    normalised: Array = x * (1 + 2e-5 * total) ** -0.75
    return normalised
