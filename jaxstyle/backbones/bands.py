"""Features of an image computed in bands of rows, so that no layer's activations are held for all of it.

The features of a band come from a *window*: its rows and a halo on both sides, as many rows as a feature can
see. All windows have one height and begin at multiples of the total stride, so that poolings fall as they do
in the whole image; the first begins and the last ends where the image does, so that borders are padded only
there. What a feature sees does not depend on the rest of the window, so values and gradients are those of
the whole image, up to rounding. The backward pass computes each window again.

Only the first blocks of a VGG are computed so, to `BLOCKS`: they hold nine tenths of the activations, and the
halo grows with depth (24 rows to pool3, 80 to relu5_1). The rest sees the whole of the small feature map.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxstyle import ops
from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.ops.grams import Correlations

BLOCKS = 3


class Layer(NamedTuple):
    """A layer that is computed in bands.

    Attributes:
      stride: image rows per row of features; shape: of the whole features; size: rows of them per band.
      gram: whether the sum of outer products is all that is kept of them.
    """

    name: str
    stride: int
    shape: tuple[int, ...]
    size: int
    gram: bool

    def first(self, band: Array) -> Array:
        """First of the `size` rows in which a band's lie: fewer than that are the last band's."""
        return jnp.minimum(band * self.size, self.shape[0] - self.size)


class Bands(NamedTuple):
    """How an image is cut: its rows, those of a band, of a halo and of a window, the number of bands."""

    height: int
    rows: int
    halo: int
    window: int
    bands: int
    layers: tuple[Layer, ...]

    def start(self, band: Array) -> Array:
        """First row of a band's window."""
        return jnp.clip(band * self.rows - self.halo, 0, self.height - self.window)


def banded_features(
    weights: Weights, image: Array, layers: tuple[str, ...], rows: int | None, grams: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Same as `weights.features(image, layers)`, computed `rows` rows of the image `[H, W, 3]` at a time.

    Args:
      rows: rounded up to whole steps of the poolings; None, or too many to save anything: all at once.
      grams: layers of which `Correlations` are enough; some come as those instead of as features.

    Raises:
      JaxstyleError: `rows` with a network other than a VGG or below 1; a gradient with respect to the
        weights of layers in bands; else as `Weights.features`.
    """
    if rows is None or not layers:
        return weights.features(image, layers)
    cut = bands_of(weights, image, layers, rows, grams)
    if cut.window >= cut.height:
        return weights.features(image, layers)
    found: dict[str, Any] = _in_bands(cut, weights, image)
    for layer in cut.layers:
        if layer.gram:
            found[layer.name] = Correlations(total=found[layer.name], shape=layer.shape)
    if deeper := tuple(name for name in layers if name not in found):
        top = found[cut.layers[-1].name]
        network: Any = weights.network
        found |= network.apply({"params": weights.params}, top, deeper, skip=BLOCKS)
    return {name: found[name] for name in layers}


def bands_of(
    weights: Weights, image: Array, layers: tuple[str, ...], rows: int, grams: tuple[str, ...] = ()
) -> Bands:
    """Bands for the features of an image at some layers; there is nothing to gain if window ≥ height.

    Raises:
      JaxstyleError: see `banded_features`.
    """
    if rows < 1:
        raise JaxstyleError(f"rows takes a number of at least 1, not {rows}")
    shallow = banded_layers(weights, layers)
    seen = sight(weights)
    features = jax.eval_shape(lambda w, x: w.features(x, tuple({*layers, *shallow})), weights, image)
    stride = max((seen[name][0] for name in shallow), default=1)
    radius = max((seen[name][1] for name in shallow), default=0)
    halo = -(-radius // stride) * stride
    height, band = image.shape[0], -(-rows // stride) * stride
    return Bands(
        height=height, rows=band, halo=halo, window=band + 2 * halo + height % stride,
        bands=-(-height // band),
        layers=tuple(Layer(name, seen[name][0], features[name].shape, band // seen[name][0],
                           name in grams and name in layers) for name in shallow),
    )


def banded_layers(weights: Weights, layers: tuple[str, ...]) -> tuple[str, ...]:
    """The layers to compute in bands, in order; the last of them is what deeper ones are computed from."""
    order = tuple(sight(weights))
    end = f"pool{BLOCKS}"
    cut = order.index(end) if end in order else len(order)
    shallow = {name for name in layers if name in order and order.index(name) <= cut}
    if len(shallow) < len(set(layers) & set(order)):
        shallow.add(end)
    return tuple(sorted(shallow, key=order.index))


def sight(weights: Weights) -> dict[str, tuple[int, int]]:
    """Stride and reach of every layer in image rows: feature row i sees rows i·stride − reach to
    (i + 1)·stride − 1 + reach.

    Raises:
      JaxstyleError: a network other than a VGG.
    """
    if not isinstance(weights.network, VGG):
        raise JaxstyleError(f"the network is a {type(weights.network).__name__}, and only a VGG can be "
                            "computed in bands of rows; leave rows at none")
    found, stride, reach = {}, 1, 0
    for name in weights.network.layers:
        if name.startswith("pool"):
            stride *= 2
        elif name.startswith("conv") and not name.endswith("_aux"):
            reach += stride
        found[name] = stride, reach
    return found


def _band(cut: Bands, weights: Weights, image_rows: Array, band: Array) -> dict[str, Array]:
    """A band's own rows of each layer `[size, w, c]`, zero where they are another's, or their Gram sums."""
    features = weights.features(image_rows, tuple(layer.name for layer in cut.layers))
    parts = {}
    for layer in cut.layers:
        first = layer.first(band)
        own = lax.dynamic_slice_in_dim(features[layer.name], first - cut.start(band) // layer.stride,
                                       layer.size)
        owned = first + jnp.arange(layer.size) >= band * layer.size
        own = jnp.where(owned[:, None, None], own, 0)
        parts[layer.name] = ops.gram(own) if layer.gram else own
    return parts


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _in_bands(cut: Bands, weights: Weights, image: Array) -> dict[str, Array]:
    """Features, or sums of outer products, of the layers of a cut."""
    def add(band: Array, found: dict[str, Array]) -> dict[str, Array]:
        rows = lax.dynamic_slice_in_dim(image, cut.start(band), cut.window)
        parts = _band(cut, weights, rows, band)
        return {layer.name: found[layer.name] + parts[layer.name] if layer.gram
                else _add_rows(found[layer.name], parts[layer.name], layer.first(band))
                for layer in cut.layers}

    shapes = {layer.name: (layer.shape[-1],) * 2 if layer.gram else layer.shape for layer in cut.layers}
    empty = {name: jnp.zeros(shape, image.dtype) for name, shape in shapes.items()}
    summed: dict[str, Array] = lax.fori_loop(0, cut.bands, add, empty)
    return summed


def _add_rows(whole: Array, rows: Array, first: Array) -> Array:
    old = lax.dynamic_slice_in_dim(whole, first, rows.shape[0])
    return lax.dynamic_update_slice_in_dim(whole, old + rows, first, 0)


def _in_bands_fwd(cut: Bands, weights: Any, image: Any) -> tuple[dict[str, Array], tuple[Weights, Array]]:
    if any(leaf.perturbed for leaf in jax.tree.leaves(weights)):
        raise JaxstyleError("weights cannot be differentiated in bands of rows; leave rows at none")
    weights = jax.tree.map(lambda leaf: leaf.value, weights)
    return _in_bands(cut, weights, image.value), (weights, image.value)


def _in_bands_bwd(cut: Bands, residuals: tuple[Weights, Array], gradients: dict[str, Any]
                  ) -> tuple[None, Array]:
    weights, image = residuals
    given = {name: jnp.zeros(g.shape, g.dtype) if isinstance(g, jax.custom_derivatives.SymbolicZero) else g
             for name, g in gradients.items()}

    def add(band: Array, total: Array) -> Array:
        rows = lax.dynamic_slice_in_dim(image, cut.start(band), cut.window)
        _, back = jax.vjp(lambda rows: _band(cut, weights, rows, band), rows)
        (change,) = back({
            layer.name: given[layer.name] if layer.gram
            else lax.dynamic_slice_in_dim(given[layer.name], layer.first(band), layer.size)
            for layer in cut.layers})
        return _add_rows(total, change, cut.start(band))

    return None, lax.fori_loop(0, cut.bands, add, jnp.zeros_like(image))


_in_bands.defvjp(_in_bands_fwd, _in_bands_bwd, symbolic_zeros=True)
