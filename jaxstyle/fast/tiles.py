"""Large images in bands of rows, equal to the whole image up to rounding, in bounded memory.

A norm needs statistics of the whole image, and they depend on all norms before it. So every norm gets a pass
over bands that measures, and the pass after it computes with what was measured. Two things keep this short:
what the inner layers give, at a quarter of the size, is kept on the host (eight numbers per pixel), so that
passes begin there; and a band brings a halo, as many rows as an output can see, so that it can be cut out
exactly where the image's border is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxstyle.fast.network import MULTIPLE, Layer, StyleNetwork, activated, convolved, normalised, padded

# Rows beyond a band that its outputs can see, in units of the pass' input: 7 of the image for c1, d1, d2; 1
# for an inner layer; 3 of the inner size for u1, u2, out. Rounded up to whole strides.
HALO = {"outer": 8, "inner": 4}
BYTES_PER_PIXEL = 1300
"""Estimate of the peak of a whole image at width 32, from the sizes of its features."""
LEAST_ROWS = 32


class Source(NamedTuple):
    """What a pass begins with: an array on the host `[h, w, C]`, image rows per row, the layer it follows."""

    values: np.ndarray
    scale: int
    following: int


class Inputs(NamedTuple):
    """What the layers of a network take beside the image: its parameters, and what its norms need.

    Attributes:
      shares: of the styles, `[styles]` or `[h, w, styles]`; known: layer name -> statistics of the image.
    """

    params: Any
    shares: Any
    known: Any

    def shares_at(self, rows: slice) -> Inputs:
        """The same with the shares of some rows of the image."""
        return self if self.shares.ndim == 1 else self._replace(shares=self.shares[rows])


def bytes_for(network: StyleNetwork, height: int, width: int) -> int:
    """Memory that a whole image takes, about."""
    return int(height * width * BYTES_PER_PIXEL * (network.width / 32 + 0.25))


def rows_within(network: StyleNetwork, width: int, budget: int) -> int:
    """Rows of a band, so that a window of the image's width stays within a budget of bytes."""
    rows = budget // max(1, bytes_for(network, 1, width)) - 2 * HALO["inner"] * MULTIPLE
    return max(LEAST_ROWS, rows // MULTIPLE * MULTIPLE)


def stylized_in_bands(
    network: StyleNetwork, params: Mapping[str, Any], image: np.ndarray, shares: np.ndarray, rows: int,
    statistics: Mapping[str, Any] | None = None,
) -> np.ndarray:
    """Same as `network.stylized`, computed `rows` rows of the image `[H, W, 3]` at a time.

    Args:
      shares: `[styles]` or `[H, W, styles]`; rows: rounded up to a multiple of 4.
    """
    height, width = image.shape[:2]
    shares = np.asarray(padded(jnp.asarray(shares))) if shares.ndim == 3 else np.asarray(shares)
    source = Source(np.asarray(padded(jnp.asarray(image))), 1, -1)
    known = dict(statistics or {})
    inputs = Inputs(params, shares, known)
    kept = source.values
    for index, layer in enumerate(network.layers[:-1]):
        inner = layer.inputs == layer.outputs or layer.name == "d2"
        if layer.block:
            kept = source.values
        if layer.name in known and not inner:
            continue
        values, found = passed(network, inputs, source, index, rows, keep=inner)
        known.setdefault(layer.name, found)
        if inner:
            source = Source(ended(network, layer, inputs, values, rows, kept), MULTIPLE, index)
    last = len(network.layers) - 1
    if network.output_norm and "out" not in known:
        known["out"] = passed(network, inputs, source, last, rows, keep=False)[1]
    return finished_bands(network, inputs, source, rows)[:height, :width]


def passed(network: StyleNetwork, inputs: Inputs, source: Source, index: int, rows: int, keep: bool
           ) -> tuple[Any, dict[str, np.ndarray]]:
    """What the convolution of a layer gives, if it is kept, and its mean and variance over the image."""
    layer = network.layers[index]
    total: Any = 0.0
    squares: Any = 0.0
    count, parts = 0, []
    for band in bands(network, inputs, source, index, rows, raw=True):
        total = total + band.sum((0, 1), dtype=np.float64)
        squares = squares + np.square(band, dtype=np.float64).sum((0, 1))
        count += band.shape[0] * band.shape[1]
        if keep:
            parts.append(band)
    mean = total / count
    variance = np.maximum(squares / count - np.square(mean), 0)
    assert mean.shape == (layer.outputs,)
    found = {"mean": mean.astype(np.float32), "variance": variance.astype(np.float32)}
    return np.concatenate(parts) if keep else None, found


def finished_bands(network: StyleNetwork, inputs: Inputs, source: Source, rows: int) -> np.ndarray:
    """The last pass: the picture."""
    last = len(network.layers) - 1
    return np.concatenate(list(bands(network, inputs, source, last, rows, raw=False)))


def bands(network: StyleNetwork, inputs: Inputs, source: Source, index: int, rows: int, raw: bool
          ) -> Iterator[np.ndarray]:
    """The output of a layer in bands of rows, from the top; every window has the same height."""
    halo = HALO["outer" if source.scale == 1 else "inner"]
    step = -(-rows // MULTIPLE) * MULTIPLE // source.scale
    height = source.values.shape[0]
    window = min(height, step + 2 * halo)
    chain = tuple(range(source.following + 1, index + 1))
    for first in range(0, height, step):
        end = min(height, first + step)
        start = min(max(0, first - halo), height - window)
        part = inputs.shares_at(slice(start * source.scale, (start + window) * source.scale))
        y = np.asarray(_window(network, chain, raw, part, source.values[start:start + window]))
        # Rows of the output per row of the input, either way a whole number.
        up, down = max(1, y.shape[0] // window), max(1, window // y.shape[0])
        low, high = ((n - start) * up // down for n in (first, end))
        yield y[low:high]


@partial(jax.jit, static_argnums=(0, 1, 2))
def _window(network: StyleNetwork, chain: tuple[int, ...], raw: bool, inputs: Inputs, x: Array) -> Array:
    """Layers in turn on one window; `raw` stops after the last convolution."""
    for index in chain:
        layer = network.layers[index]
        y = convolved(network, layer, inputs.params[layer.name], x)
        if raw and index == chain[-1]:
            return y
        if layer.normalised:
            y = _normalised(network, layer, inputs, y)
        x = activated(network, layer, y, x)
    return x


def _normalised(network: StyleNetwork, layer: Layer, inputs: Inputs, y: Array) -> Array:
    return normalised(network, layer, inputs.params[layer.name], y, inputs.shares, (inputs.known, None))


def ended(network: StyleNetwork, layer: Layer, inputs: Inputs, values: np.ndarray, rows: int,
          kept: np.ndarray) -> np.ndarray:
    """Norm and what follows it, band by band, of what a convolution gave `[h, w, C]`."""
    step = max(1, rows // MULTIPLE)
    parts = []
    for first in range(0, values.shape[0], step):
        at = slice(first, first + step)
        part = inputs.shares_at(slice(first * MULTIPLE, (first + step) * MULTIPLE))
        part = Inputs({layer.name: inputs.params[layer.name]}, part.shares,
                       {layer.name: inputs.known[layer.name]})
        before = kept[at] if layer.skip else values[at]
        parts.append(np.asarray(_ended(network, layer, part, values[at], before)))
    return np.concatenate(parts)


@partial(jax.jit, static_argnums=(0, 1))
def _ended(network: StyleNetwork, layer: Layer, inputs: Inputs, y: Array, kept: Array) -> Array:
    return activated(network, layer, _normalised(network, layer, inputs, y), kept)


