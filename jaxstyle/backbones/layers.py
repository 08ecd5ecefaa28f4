"""The one convolution layer that all backbones share."""

from __future__ import annotations

import flax.linen as nn
from jax import Array

from jaxstyle import ops


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
