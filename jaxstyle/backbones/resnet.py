"""ResNet-50 without its classifier, batch normalisation folded into the convolutions.

He et al., Deep residual learning for image recognition, CVPR 2016, in the form that torchvision
publishes: a block halves the size in its 3×3 convolution, not in the 1×1 before it.
"""

from __future__ import annotations

from collections.abc import Iterator

import flax.linen as nn
from jax import Array

from jaxstyle.backbones.layers import Conv, Steps, collect, pool

BLOCKS = (3, 4, 6, 3)


class ResNet50(nn.Module):
    """Layers `conv1`, `relu1`, `pool1` and those of sixteen blocks `layer1_0` … `layer4_2`.

    A block has `layer1_0/conv1`, `/relu1`, `/conv2`, `/relu2`, `/conv3`, in the first of each group
    the projection `/downsample` of its input, and `/output`: the rectified sum.

    Attributes:
      pooling: "max" or "average".
      border: "zero", "reflect" or "replicate".
    """

    pooling: str = "max"
    border: str = "zero"

    @property
    def layers(self) -> tuple[str, ...]:
        """Every name that can be asked for, in order of computation."""
        names = ["conv1", "relu1", "pool1"]
        for group, blocks in enumerate(BLOCKS, start=1):
            for block in range(blocks):
                parts = ["conv1", "relu1", "conv2", "relu2", "conv3"]
                parts += ["downsample"] * (block == 0) + ["output"]
                names += [f"layer{group}_{block}/{part}" for part in parts]
        return tuple(names)

    @nn.compact
    def __call__(self, x: Array, layers: tuple[str, ...]) -> dict[str, Array]:
        """Features of one preprocessed image `[H, W, 3]`, no deeper than the last of `layers`."""
        return collect(self._steps(x), layers)

    def _steps(self, x: Array) -> Iterator[tuple[str, Array]]:
        x = Conv(64, 7, 2, 3, self.border, name="conv1")(x)
        yield "conv1", x
        x = nn.relu(x)
        yield "relu1", x
        x = pool(x, self.pooling, 3, 2, padding=1)
        yield "pool1", x
        for group, blocks in enumerate(BLOCKS, start=1):
            for block in range(blocks):
                x = yield from self._block(x, group, block)

    def _block(self, x: Array, group: int, block: int) -> Steps:
        """The steps of one bottleneck block; gives its output back."""
        width = 32 * 2**group
        stride = 2 if group > 1 and block == 0 else 1
        prefix = f"layer{group}_{block}/"
        y = x
        for i, (channels, size, step) in enumerate(
            ((width, 1, 1), (width, 3, stride), (4 * width, 1, 1)), start=1
        ):
            y = Conv(channels, size, step, border=self.border, name=f"{prefix}conv{i}")(y)
            yield f"{prefix}conv{i}", y
            if i < 3:
                y = nn.relu(y)
                yield f"{prefix}relu{i}", y
        if block == 0:
            x = Conv(4 * width, 1, stride, border=self.border, name=f"{prefix}downsample")(x)
            yield f"{prefix}downsample", x
        x = nn.relu(x + y)
        yield f"{prefix}output", x
        return x
