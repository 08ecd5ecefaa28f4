"""VGG-16 and VGG-19 without their fully connected part.

Simonyan & Zisserman, Very Deep Convolutional Networks, ICLR 2015, configurations D and E.
"""

from __future__ import annotations

import flax.linen as nn
from jax import Array

from jaxstyle import ops
from jaxstyle.backbones.layers import Conv

VGG16 = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)
VGG19 = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT_LAYER = "relu4_2"
"""The layers at which Gatys, Ecker & Bethge 2016 compare style and content."""


class VGG(nn.Module):
    """3×3 convolutions with ReLU in blocks, a 2×2 pooling after each block.

    Layers are named as in the literature: `conv4_2` before and `relu4_2` after the rectifier,
    `pool4` after the fourth block. A convolution named in `aux` has a rectified 1×1 map on its
    relu, named `relu3_1_aux` (`conv3_1_aux` before its rectifier).

    Attributes:
      blocks: output channels of every convolution, block by block.
      pooling: "max" or "average".
      border: "zero", "reflect" or "replicate".
      aux: pairs (convolution, output channels of its 1×1 map).
      last: the last layer, for weights that stop inside a block; "" means the last pooling.
    """

    blocks: tuple[tuple[int, ...], ...] = VGG19
    pooling: str = "max"
    border: str = "zero"
    aux: tuple[tuple[str, int], ...] = ()
    last: str = ""

    @property
    def layers(self) -> tuple[str, ...]:
        """Every name that can be asked for, in order of computation."""
        names: list[str] = []
        aux = dict(self.aux)
        for i, widths in enumerate(self.blocks, start=1):
            for j in range(1, len(widths) + 1):
                names += [f"conv{i}_{j}", f"relu{i}_{j}"]
                if f"conv{i}_{j}" in aux:
                    names += [f"conv{i}_{j}_aux", f"relu{i}_{j}_aux"]
            names.append(f"pool{i}")
        return tuple(names[: names.index(self.last) + 1] if self.last else names)

    @nn.compact
    def __call__(self, x: Array, layers: tuple[str, ...], skip: int = 0) -> dict[str, Array]:
        """Features of one preprocessed image `[H, W, 3]`, no deeper than the last of `layers`.

        With `skip`, `x` is what the pooling after that many blocks gave, and layers come from later ones.
        """
        pool = {"max": ops.max_pool, "average": ops.average_pool}[self.pooling]
        found: dict[str, Array] = {}
        wanted, aux = set(layers), dict(self.aux)
        last = max(map(self.layers.index, wanted), default=-1)
        for i, widths in list(enumerate(self.blocks, start=1))[skip:]:
            for j, width in enumerate(widths, start=1):
                name = f"{i}_{j}"
                if self.layers.index(f"conv{name}") > last:
                    return found
                x = self._conv(x, name, width, wanted, found)
                maps = {f"conv{name}_aux", f"relu{name}_aux"}
                if f"conv{name}" in aux and (maps & wanted or self.is_initializing()):
                    self._conv(x, f"{name}_aux", aux[f"conv{name}"], wanted, found)
            if f"pool{i}" not in self.layers or self.layers.index(f"pool{i}") > last:
                return found
            x = pool(x)
            if f"pool{i}" in wanted:
                found[f"pool{i}"] = x
        return found

    def _conv(self, x: Array, name: str, width: int, wanted: set[str], found: dict[str, Array]) -> Array:
        """Rectified convolution; notes the features before and after the rectifier where wanted."""
        conv = Conv(width, 1 if name.endswith("_aux") else 3, border=self.border, name=f"conv{name}")
        if f"conv{name}" in wanted:
            found[f"conv{name}"] = conv(x)
            y = nn.relu(found[f"conv{name}"])
        else:
            y = conv(x, relu=True)
        if f"relu{name}" in wanted:
            found[f"relu{name}"] = y
        return y
