"""AlexNet without its fully connected part, in its one-tower form.

Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014; the network that
torchvision publishes. It has neither groups nor response normalisation.
"""

from __future__ import annotations

from collections.abc import Iterator

import flax.linen as nn
from jax import Array

from jaxstyle.backbones.layers import Conv, collect, pool

# output channels, kernel side, stride, padding, whether a pooling follows
CONVOLUTIONS = (
    (64, 11, 4, 2, True), (192, 5, 1, 2, True), (384, 3, 1, 1, False), (256, 3, 1, 1, False),
    (256, 3, 1, 1, True),
)


class AlexNet(nn.Module):
    """Layers `conv1` … `conv5`, `relu1` … `relu5`, `pool1`, `pool2`, `pool5` (3×3, stride 2).

    Attributes:
      pooling: "max" or "average".
      border: "zero", "reflect" or "replicate".
    """

    pooling: str = "max"
    border: str = "zero"

    @property
    def layers(self) -> tuple[str, ...]:
        """Every name that can be asked for, in order of computation."""
        return tuple(
            f"{part}{i}" for i, row in enumerate(CONVOLUTIONS, start=1)
            for part in ("conv", "relu", "pool")[: 3 if row[-1] else 2]
        )

    @nn.compact
    def __call__(self, x: Array, layers: tuple[str, ...]) -> dict[str, Array]:
        """Features of one preprocessed image `[H, W, 3]`, no deeper than the last of `layers`."""
        return collect(self._steps(x), layers)

    def _steps(self, x: Array) -> Iterator[tuple[str, Array]]:
        for i, (width, size, stride, padding, pools) in enumerate(CONVOLUTIONS, start=1):
            x = Conv(width, size, stride, padding, self.border, name=f"conv{i}")(x)
            yield f"conv{i}", x
            x = nn.relu(x)
            yield f"relu{i}", x
            if pools:
                x = pool(x, self.pooling, 3, 2)
                yield f"pool{i}", x
