"""How typical each of many paintings is of them all: what it counts where they are one style."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.backbones.vgg import STYLE_LAYERS
from jaxstyle.errors import JaxstyleError
from jaxstyle.losses import gram_matrix
from jaxstyle.ops.resize import resize

SIZE = 256
LEAST = 1e-3
"""Of a distance, so that equal paintings have equal shares and none counts infinitely more than another."""


def shares_of(grams: Sequence[dict[str, Any]]) -> tuple[float, ...]:
    """Shares that sum to 1, each inversely as the distance of its Gram matrices from the mean of all (ours).

    Args:
      grams: of each painting, layer -> `[C, C]`. At every layer they are divided by their length first, so
        that the strength of contrasts does not count; distances are Frobenius norms, averaged over layers.
    """
    apart = np.zeros(len(grams))
    for layer in grams[0]:
        unit = np.stack([np.asarray(each[layer], np.float64) for each in grams])
        unit = unit / np.maximum(np.linalg.norm(unit, axis=(1, 2), keepdims=True), 1e-30)
        apart += np.linalg.norm(unit - unit.mean(0), axis=(1, 2)) / len(grams[0])
    nearness = 1 / np.maximum(apart, LEAST)
    return tuple(map(float, nearness / nearness.sum()))


def typical_shares(weights: Weights, styles: Sequence[Any], size: int = SIZE) -> tuple[float, ...]:
    """`shares_of` paintings `[H, W, 3]`, their longer side brought to `size`.

    Raises:
      JaxstyleError: no paintings, or the network has none of the style layers.
    """
    layers = tuple(layer for layer in STYLE_LAYERS if layer in weights.network.layers)
    if not styles or not layers:
        raise JaxstyleError("typical shares need at least one painting and a network with layers of a VGG")

    @jax.jit
    def grams(weights: Weights, image: Any) -> dict[str, Any]:
        found = weights.features(image, layers)
        return {layer: gram_matrix(found[layer]) for layer in layers}

    return shares_of([grams(weights, jnp.asarray(resize(style, size))) for style in styles])
