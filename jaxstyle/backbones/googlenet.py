"""GoogLeNet as Caffe publishes it (bvlc_googlenet), complete but for its two auxiliary classifiers.

Szegedy et al., Going deeper with convolutions, CVPR 2015.
"""

from __future__ import annotations

from collections.abc import Iterator

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxstyle.backbones.layers import Conv, Steps, collect, local_response_norm, pool

# channels of 1x1, 3x3_reduce, 3x3, 5x5_reduce, 5x5, pool_proj
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}
PARTS = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj")
STEM = (
    "conv1/7x7_s2", "conv1/relu_7x7", "pool1/3x3_s2", "pool1/norm1", "conv2/3x3_reduce",
    "conv2/relu_3x3_reduce", "conv2/3x3", "conv2/relu_3x3", "conv2/norm2", "pool2/3x3_s2",
)


class GoogLeNet(nn.Module):
    """Layers under their names in Caffe: `conv2/3x3`, `inception_4c/5x5`, `inception_4c/relu_5x5`.

    `inception_4c/output` joins the four branches; `pool3/3x3_s2` … are 3×3 with stride 2, rounded
    up; `pool5/7x7_s1`, `[1, 1, 1024]`, is the mean over positions (a 7×7 window at the 224 pixels
    of training) and `loss3/classifier`, `[1, 1, 1000]`, the logits of the ImageNet classes.

    Attributes:
      pooling: "max" or "average", for the poolings with stride 2.
      border: "zero", "reflect" or "replicate".
    """

    pooling: str = "max"
    border: str = "zero"

    @property
    def layers(self) -> tuple[str, ...]:
        """Every name that can be asked for, in order of computation."""
        names = list(STEM)
        for block in INCEPTIONS:
            parts = [name for part in PARTS for name in (part, f"relu_{part}")]
            parts.insert(-2, "pool")
            names += [f"inception_{block}/{part}" for part in (*parts, "output")]
            if block in ("3b", "4e"):
                names.append(f"pool{block[0]}/3x3_s2")
        return (*names, "pool5/7x7_s1", "loss3/classifier")

    @nn.compact
    def __call__(self, x: Array, layers: tuple[str, ...]) -> dict[str, Array]:
        """Features of one preprocessed image `[H, W, 3]`, no deeper than the last of `layers`."""
        return collect(self._steps(x), layers)

    def _steps(self, x: Array) -> Iterator[tuple[str, Array]]:
        x = yield from self._stem(x)
        for block in INCEPTIONS:
            x = yield from self._inception(x, block)
            if block in ("3b", "4e"):
                x = pool(x, self.pooling, 3, 2, ceil=True)
                yield f"pool{block[0]}/3x3_s2", x
        x = x.mean((0, 1), keepdims=True)
        yield "pool5/7x7_s1", x
        yield "loss3/classifier", Conv(1000, 1, name="loss3/classifier")(x)

    def _conv(self, x: Array, name: str, width: int, size: int, stride: int = 1) -> Steps:
        """The two steps of a rectified convolution; gives the rectified features back."""
        x = Conv(width, size, stride, size // 2, self.border, name=name)(x)
        yield name, x
        x = nn.relu(x)
        block, _, part = name.rpartition("/")
        yield f"{block}/relu_{part.removesuffix('_s2')}", x
        return x

    def _stem(self, x: Array) -> Steps:
        """The steps up to the first inception block; gives its input back."""
        x = yield from self._conv(x, "conv1/7x7_s2", 64, 7, 2)
        x = pool(x, self.pooling, 3, 2, ceil=True)
        yield "pool1/3x3_s2", x
        x = local_response_norm(x)
        yield "pool1/norm1", x
        x = yield from self._conv(x, "conv2/3x3_reduce", 64, 1)
        x = yield from self._conv(x, "conv2/3x3", 192, 3)
        x = local_response_norm(x)
        yield "conv2/norm2", x
        x = pool(x, self.pooling, 3, 2, ceil=True)
        yield "pool2/3x3_s2", x
        return x

    def _inception(self, x: Array, block: str) -> Steps:
        """The steps of one inception block; gives its output back."""
        branches = []
        y = x
        for part, width in zip(PARTS, INCEPTIONS[block]):
            if part == "pool_proj":
                y = pool(x, "max", 3, 1, padding=1)
                yield f"inception_{block}/pool", y
            elif part in ("1x1", "3x3_reduce", "5x5_reduce"):
                y = x
            size = int(part[0]) if part in ("3x3", "5x5") else 1
            y = yield from self._conv(y, f"inception_{block}/{part}", width, size)
            if not part.endswith("_reduce"):
                branches.append(y)
        x = jnp.concatenate(branches, -1)
        yield f"inception_{block}/output", x
        return x
