"""SqueezeNet 1.1, complete: its classifier is a 1×1 convolution and a mean over positions.

Iandola et al., SqueezeNet: AlexNet-level accuracy with 50x fewer parameters, 2016.
"""

from __future__ import annotations

from collections.abc import Iterator

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxstyle.backbones.layers import Conv, Steps, collect, pool

# fire module -> channels of squeeze and of each expand; the modules that a pooling follows
FIRES = {2: (16, 64), 3: (16, 64), 4: (32, 128), 5: (32, 128), 6: (48, 192), 7: (48, 192),
         8: (64, 256), 9: (64, 256)}
POOLED = (3, 5)
PARTS = ("squeeze1x1", "expand1x1", "expand3x3")


class SqueezeNet(nn.Module):
    """Layers `conv1`, `fire2/squeeze1x1` … `fire9/expand3x3`, each followed by its rectified form.

    Rectified layers are `relu1` and `fire2/relu_squeeze1x1` …; `fire2/concat` joins both expands;
    `pool1`, `pool3`, `pool5` are 3×3 with stride 2, rounded up; `conv10`, `relu10` are maps of the
    1000 ImageNet classes and `pool10`, `[1, 1, 1000]`, their means: the logits.

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
        for i in FIRES:
            names += [f"fire{i}/{mark}{part}" for part in PARTS for mark in ("", "relu_")]
            names += [f"fire{i}/concat"] + [f"pool{i}"] * (i in POOLED)
        return (*names, "conv10", "relu10", "pool10")

    @nn.compact
    def __call__(self, x: Array, layers: tuple[str, ...]) -> dict[str, Array]:
        """Features of one preprocessed image `[H, W, 3]`, no deeper than the last of `layers`."""
        return collect(self._steps(x), layers)

    def _steps(self, x: Array) -> Iterator[tuple[str, Array]]:
        x = Conv(64, 3, 2, 0, self.border, name="conv1")(x)
        yield "conv1", x
        x = nn.relu(x)
        yield "relu1", x
        x = pool(x, self.pooling, 3, 2, ceil=True)
        yield "pool1", x
        for i in FIRES:
            x = yield from self._fire(x, i)
            if i in POOLED:
                x = pool(x, self.pooling, 3, 2, ceil=True)
                yield f"pool{i}", x
        x = Conv(1000, 1, border=self.border, name="conv10")(x)
        yield "conv10", x
        x = nn.relu(x)
        yield "relu10", x
        yield "pool10", x.mean((0, 1), keepdims=True)

    def _fire(self, x: Array, i: int) -> Steps:
        """The steps of one fire module; gives its output back."""
        squeeze, expand = FIRES[i]
        maps = []
        for part, width in zip(PARTS, (squeeze, expand, expand)):
            size = int(part[-1])
            y = Conv(width, size, border=self.border, name=f"fire{i}/{part}")(x)
            yield f"fire{i}/{part}", y
            y = nn.relu(y)
            yield f"fire{i}/relu_{part}", y
            if part == "squeeze1x1":
                x = y
            else:
                maps.append(y)
        x = jnp.concatenate(maps, -1)
        yield f"fire{i}/concat", x
        return x
