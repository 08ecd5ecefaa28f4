"""How strong a network's features are, layer by layer: what absolute weights of a recipe depend on.

Measured on the colour card of `weights.verify`; for published networks recorded in `scales.toml`, so that a
recipe can be made for a network that is not at hand.
"""

from __future__ import annotations

import math
import tomllib
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxstyle import ops
from jaxstyle.backbones.perceptual import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.pytrees import replace
from jaxstyle.weights.store import bundled_dir
from jaxstyle.weights.verify import colour_card

OXFORD = "Oxford's VGG-19"


class Scale(NamedTuple):
    """Of one layer.

    Attributes:
      channels: their number.
      square: mean of the squared features over positions and channels.
      gram: sum of the squared entries of the Gram matrix per position, Σ (G/N)².
    """

    channels: int
    square: float
    gram: float


def recorded_scales(network: str) -> dict[str, Scale]:
    """Layer -> scale of a published network.

    Raises:
      JaxstyleError: nothing is recorded of it.
    """
    content = tomllib.loads((bundled_dir() / "scales.toml").read_text(encoding="utf-8"))
    known = {entry["network"]: entry["layers"] for entry in content["scale"]}
    if network not in known:
        raise JaxstyleError(f"no scale is recorded of '{network}'; there is {', '.join(known)}")
    return {layer: Scale(int(channels), square, gram) for layer,
            (channels, square, gram) in known[network].items()}


@partial(jax.jit, static_argnames="layers")
def _measure(weights: Weights, image: Array, layers: tuple[str, ...]) -> dict[str, tuple[Array, Array]]:
    found = weights.features(image, layers)
    return {layer: (jnp.mean(jnp.square(feature)),
                    jnp.sum(jnp.square(ops.gram(feature) / (feature.shape[0] * feature.shape[1]))))
            for layer, feature in found.items()}


def measured_scales(weights: Weights, layers: tuple[str, ...]) -> dict[str, Scale]:
    """Layer -> scale of a network on the colour card.

    Raises:
      JaxstyleError: a layer that the network does not have.
    """
    shallow = replace(weights, {"params": weights.params_up_to(layers), "name": "", "sha256": ""})
    found = _measure(shallow, jnp.asarray(colour_card()), layers)
    widths = jax.eval_shape(partial(shallow.features, layers=layers),
                            jax.ShapeDtypeStruct(colour_card().shape, jnp.float32))
    return {layer: Scale(widths[layer].shape[-1], float(square), float(gram))
            for layer, (square, gram) in found.items()}


def alike(one: dict[str, Scale], other: dict[str, Scale], factor: float = 3.0) -> bool:
    """Whether features are of the same width and strength at all layers of the first (amplitudes within
    `factor`)."""
    return all(scale.channels == other[layer].channels
               and abs(math.log(max(scale.square, 1e-30) / max(other[layer].square, 1e-30))) < 2
               * math.log(factor)
               for layer, scale in one.items())
