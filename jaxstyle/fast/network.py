"""The image transformation network of Johnson, Alahi & Fei-Fei 2016 (arXiv:1603.08155) and what followed it.

c9s1-32, d64, d128, five residual blocks of 128, u64, u32, c9s1-3. Instance normalisation after Ulyanov,
Vedaldi & Lempitsky 2016 (arXiv:1607.08022), one scale and offset per style after Dumoulin, Shlens & Kudlur
2017 (arXiv:1610.07629), enlargement before convolution after Odena, Dumoulin & Olah 2016 (distill.pub).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxstyle import ops
from jaxstyle.errors import JaxstyleError, one_of
from jaxstyle.ops.reference import PAD_MODES

NORMS = ("conditional", "instance", "batch")
UPSAMPLING = ("nearest", "bilinear", "transposed")
PADDINGS = ("reflect", "zero", "replicate")
OUTPUTS = ("tanh", "sigmoid", "linear")
ALIGNMENTS = ("centred", "tensorflow")
# Johnson's tanh · 150 around mid-grey, in units of white.
TANH_SCALE = 150 / 255
# Sides are padded to a multiple of this, the product of the strides.
MULTIPLE = 4
BATCH_AXIS = "batch"
MOMENTUM = 0.9
FIRST_CONTRAST = 0.25
# Residual blocks begin as nearly nothing (Goyal et al. 2017, section 5.1), so that the photo comes through.
FIRST_RESIDUAL = 0.1


class Layer(NamedTuple):
    """One convolution with what follows it.

    Attributes:
      size: side of the kernel; inputs, outputs: channels; stride: 2 halves the image; up: doubles it first.
      normalised, relu: whether a norm and a rectifier follow; skip: adds the input of the block's first
        layer after the norm; block: keeps its own input for that.
    """

    name: str
    size: int
    inputs: int
    outputs: int
    stride: int = 1
    up: bool = False
    normalised: bool = True
    relu: bool = True
    block: bool = False
    skip: bool = False


class StyleNetwork(nn.Module):
    """RGB in [0, 1] to RGB, about in [0, 1], of the same size.

    Attributes:
      styles: how many styles the network holds; only "conditional" norm tells them apart.
      width: channels of the first layer, four times as many inside; depth: residual blocks.
      norm: "conditional" or "instance" (statistics of the one image; the same for one style) or "batch".
      upsample: how the image doubles: "nearest" or "bilinear" before a convolution, or "transposed".
      padding: how images go on outside; output: the last function.
      output_norm: a norm after the last convolution (Engstrom's program).
      alignment: where convolutions of stride 2 and transposed ones lie: "centred", or as TensorFlow's SAME.
      epsilon: added to variances.
    """

    styles: int = 1
    width: int = 32
    depth: int = 5
    norm: str = "conditional"
    upsample: str = "nearest"
    padding: str = "reflect"
    output: str = "tanh"
    output_norm: bool = False
    alignment: str = "centred"
    epsilon: float = 1e-5

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every convolution in order of computation."""
        w = self.width
        block = [layer for i in range(1, self.depth + 1) for layer in (
            Layer(f"r{i}a", 3, 4 * w, 4 * w, block=True),
            Layer(f"r{i}b", 3, 4 * w, 4 * w, relu=False, skip=True))]
        return (
            Layer("c1", 9, 3, w), Layer("d1", 3, w, 2 * w, stride=2), Layer("d2", 3, 2 * w, 4 * w, stride=2),
            *block, Layer("u1", 3, 4 * w, 2 * w, up=True), Layer("u2", 3, 2 * w, w, up=True),
            Layer("out", 9, w, 3, normalised=self.output_norm, relu=False),
        )

    @nn.compact
    def __call__(self, image: Array, style: Array | None = None, train: bool = False) -> Array:
        """The image `[H, W, 3]` in a style, of equal shape; see `stylized`."""
        if self.is_initializing():
            for layer in self.layers:
                self.param(layer.name, lambda key, layer=layer: initial(layer, self, key))
            if self.norm == "batch":
                for layer in self.layers:
                    if layer.normalised:
                        self.variable("statistics", layer.name, lambda n=layer.outputs: {
                            "mean": jnp.zeros(n), "variance": jnp.ones(n)})
            return image
        found: dict[str, Any] = {}
        statistics = self.variables.get("statistics", {})
        y = stylized(self, self.variables["params"], image, style, statistics, found if train else None)
        for name, value in found.items():
            self.put_variable("statistics", name, value)
        return y


def checked(network: StyleNetwork) -> StyleNetwork:
    """The network, if its attributes make sense.

    Raises:
      JaxstyleError: a name or a number that does not exist; the message has the choices.
    """
    one_of("norm", network.norm, NORMS)
    one_of("upsample", network.upsample, UPSAMPLING)
    one_of("padding", network.padding, PADDINGS)
    one_of("output", network.output, OUTPUTS)
    one_of("alignment", network.alignment, ALIGNMENTS)
    for name, least in (("styles", 1), ("width", 1), ("depth", 0)):
        value = getattr(network, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise JaxstyleError(f"{name} is {value!r}; a network takes a whole number of at least {least}")
    if network.styles > 1 and network.norm != "conditional":
        raise JaxstyleError(f"norm '{network.norm}' holds one style, not {network.styles}; "
                            "use norm conditional for several")
    return network


def initial(layer: Layer, network: StyleNetwork, key: Array) -> dict[str, Array]:
    """Random parameters of one layer: He-normal kernel; bias, or scales `[styles, C]` near 1 and offsets."""
    shape = (layer.size, layer.size, layer.inputs, layer.outputs)
    params = {"kernel": nn.initializers.he_normal()(key, shape)}
    kind = params["kernel"].dtype
    if not layer.normalised:
        # The first pictures are grey with little contrast, where no output function is saturated.
        grey = 0.5 if network.output == "linear" else 0.0
        return {"kernel": FIRST_CONTRAST * params["kernel"], "bias": jnp.full(layer.outputs, grey, kind)}
    styles = (network.styles, layer.outputs)
    scale = FIRST_RESIDUAL if layer.skip else 1.0
    return {**params, "scale": jnp.full(styles, scale, kind), "offset": jnp.zeros(styles, kind)}


def padded(image: Array, multiple: int = MULTIPLE) -> Array:
    """An image `[H, W, C]` continued below and to the right by reflection to multiples of a number."""
    below, right = -image.shape[0] % multiple, -image.shape[1] % multiple
    return jnp.pad(image, ((0, below), (0, right), (0, 0)), mode="reflect")


def stylized(
    network: StyleNetwork, params: Mapping[str, Any], image: Array, style: Array | None = None,
    statistics: Mapping[str, Any] | None = None, batch: dict[str, Any] | None = None,
) -> Array:
    """An image `[H, W, 3]` in a style, of equal shape, not clipped.

    Args:
      params: layer name -> {"kernel", "bias" or "scale" and "offset"}, raw or from `ops.prepare`.
      style: share of each style, `[styles]`, or at each pixel, `[H, W, styles]`; None: the first.
      statistics: means and variances by layer that the norms use; those missing are measured.
      batch: takes the running statistics of batch norm, whose statistics are then those of the mapped
        axis "batch".
    """
    shares = jnp.zeros(network.styles, image.dtype).at[0].set(1) if style is None else style
    shares = padded(shares) if shares.ndim == 3 else shares
    y = transformed(network, params, padded(image), shares, statistics, batch)
    return y[: image.shape[0], : image.shape[1]]


def transformed(
    network: StyleNetwork, params: Mapping[str, Any], x: Array, shares: Array,
    statistics: Mapping[str, Any] | None = None, batch: dict[str, Any] | None = None,
) -> Array:
    """Same as `stylized`, of an image whose sides `MULTIPLE` divides, with shares given."""
    kept = x
    for layer in network.layers:
        if layer.block:
            kept = x
        y = convolved(network, layer, params[layer.name], x)
        if layer.normalised:
            y = normalised(network, layer, params[layer.name], y, shares, (statistics or {}, batch))
        x = activated(network, layer, y, kept)
    return x


def convolved(network: StyleNetwork, layer: Layer, params: Mapping[str, Any], x: Array,
              border: str | None = None) -> Array:
    """The convolution of one layer, `[h, w, inputs]` -> `[h', w', outputs]`."""
    params = {"bias": jnp.zeros(layer.outputs, x.dtype), **params}
    border = border or network.padding
    if layer.up and network.upsample == "transposed":
        return ops.transposed_conv(x, params, centred=network.alignment == "centred")
    if layer.up and network.upsample == "nearest":
        return ops.upsample_conv(x, params, border=border)
    if layer.up:
        x = doubled(x)
    if layer.stride == 2 and network.alignment == "tensorflow":
        x = jnp.pad(x, ((0, 1), (0, 1), (0, 0)), mode=PAD_MODES[border])
        return ops.conv(x, params, stride=2, padding=0)
    return ops.conv(x, params, border=border, stride=layer.stride)


def doubled(x: Array) -> Array:
    """Linear interpolation to twice the size, `[h, w, C]` -> `[2h, 2w, C]`; edges are continued."""
    def along(x: Array, axis: int) -> Array:
        n = x.shape[axis]
        wide = jnp.concatenate([lax.slice_in_dim(x, 0, 1, axis=axis), x,
                                lax.slice_in_dim(x, n - 1, n, axis=axis)], axis)
        before, after = (lax.slice_in_dim(wide, i, i + n, axis=axis) for i in (0, 2))
        pair = jnp.stack([0.25 * before + 0.75 * x, 0.75 * x + 0.25 * after], axis + 1)
        return pair.reshape(*x.shape[:axis], 2 * n, *x.shape[axis + 1:])

    return along(along(x, 0), 1)


def moments(x: Array) -> tuple[Array, Array]:
    """Mean and variance over positions, `[h, w, C]` -> two of `[C]`."""
    mean = jnp.mean(x, (0, 1))
    return mean, jnp.mean(jnp.square(x - mean[None, None]), (0, 1))


def normalised(
    network: StyleNetwork, layer: Layer, params: Mapping[str, Any], x: Array, shares: Array,
    known: tuple[Mapping[str, Any], dict[str, Any] | None],
) -> Array:
    """Scaled and moved to the mean and deviation that the style asks for, `[h, w, C]`.

    Args:
      known: statistics to use, and where those of a batch are put (see `stylized`).
    """
    statistics, batch = known
    if batch is not None and network.norm == "batch":
        mean = lax.pmean(jnp.mean(x, (0, 1)), BATCH_AXIS)
        variance = lax.pmean(jnp.mean(jnp.square(x - mean[None, None]), (0, 1)), BATCH_AXIS)
        old = statistics[layer.name]
        batch[layer.name] = {"mean": MOMENTUM * old["mean"] + (1 - MOMENTUM) * lax.stop_gradient(mean),
                             "variance": MOMENTUM * old["variance"]
                             + (1 - MOMENTUM) * lax.stop_gradient(variance)}
    elif layer.name in statistics:
        mean, variance = statistics[layer.name]["mean"], statistics[layer.name]["variance"]
    else:
        mean, variance = moments(x)
    scale, offset = (chosen(params[name], shares, x.shape) for name in ("scale", "offset"))
    factor = lax.rsqrt(variance + network.epsilon)[None, None] * scale
    normalised: Array = (x - mean[None, None]) * factor + offset
    return normalised


def chosen(per_style: Array, shares: Array, shape: tuple[int, ...]) -> Array:
    """Mixture of `[styles, C]`: `[1, 1, C]` for shares `[styles]`, `[h, w, C]` for shares of every pixel."""
    if shares.ndim == 1:
        shares = shares[None, None]
        return jnp.matmul(shares.astype(per_style.dtype), per_style, precision=lax.Precision.HIGHEST)
    # Whole-number reduction: the sides were padded to multiples of it.
    step = shares.shape[0] // shape[0]
    if step > 1:
        blocks = shares.reshape(shape[0], step, shape[1], step, shares.shape[2])
        shares = blocks.mean((1, 3))
    return jnp.matmul(shares.astype(per_style.dtype), per_style, precision=lax.Precision.HIGHEST)


def activated(network: StyleNetwork, layer: Layer, y: Array, kept: Array) -> Array:
    """What follows the norm of one layer; `kept` is the input of its residual block."""
    if layer.name == "out":
        return finished(y, network.output)
    if layer.skip:
        y = y + kept
    return jax.nn.relu(y) if layer.relu else y


def finished(y: Array, output: str) -> Array:
    """The last function: from any number to about [0, 1]."""
    if output == "tanh":
        return 0.5 + TANH_SCALE * jnp.tanh(y)
    return jax.nn.sigmoid(y) if output == "sigmoid" else y
