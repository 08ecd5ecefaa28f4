"""Gatys' normalisation of VGG: on photos, the mean activation of every filter becomes one.

Gatys, Ecker, Bethge 2016 (CVPR), section 2: the weights are scaled "such that the mean activation of each
convolutional filter over images and positions is equal to one", which changes no output of the network up
to a scale per filter, because rectifiers, maxima and means commute with positive factors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import load
from jaxstyle.images.folder import pictures_in
from jaxstyle.ops.resize import resize


def square(image: np.ndarray, size: int) -> Array:
    """The middle square of a photo at `size` pixels, so that all photos share one program."""
    small = resize(image, size, by="shorter")
    top, left = (small.shape[0] - size) // 2, (small.shape[1] - size) // 2
    return small[top : top + size, left : left + size]


@partial(jax.jit, static_argnames="layers")
def _sums(weights: Weights, image: Array, layers: tuple[str, ...]) -> dict[str, Array]:
    found = weights.features(image, layers)
    return {name: feature.mean((0, 1)) for name, feature in found.items()}


def mean_activations(weights: Weights, images: Iterable[Array]) -> dict[str, np.ndarray]:
    """Mean of every rectified filter over images `[S, S, 3]` and positions: "relu1_1" -> `[C]`.

    Raises:
      JaxstyleError: no images.
    """
    layers = tuple(name for name in weights.network.layers if name.startswith("relu"))
    total: dict[str, np.ndarray] = {}
    count = 0
    for image in images:
        means = _sums(weights, image, layers)
        total = {name: total.get(name, 0) + np.asarray(mean, np.float64)
                 for name, mean in means.items()}
        count += 1
    if not count:
        raise JaxstyleError("no images to measure mean activations on")
    return {name: value / count for name, value in total.items()}


def normalise(weights: Weights, images: Sequence[Array] | Iterable[Array]) -> Weights:
    """Weights whose filters have mean activation one over images `[S, S, 3]` and positions.

    A filter that never answers is left as it is.

    Raises:
      JaxstyleError: a network that is not VGG, or no images.
    """
    if not isinstance(weights.network, VGG):
        raise JaxstyleError(
            f"only VGG can be normalised, but '{weights.name}' is a {type(weights.network).__name__}"
        )
    means = mean_activations(weights, images)
    scales = {name.replace("relu", "conv"): 1 / np.where(mean > 1e-12, mean, 1)
              for name, mean in means.items()}
    params, before = {}, np.ones(3)
    for name in weights.network.layers:
        if name not in weights.params:
            continue
        # A 1×1 map sees the rectified filters of the convolution that it is named after.
        seen = scales[name.removesuffix("_aux")] if name.endswith("_aux") else before
        kernel = np.asarray(weights.params[name]["kernel"], np.float64)
        params[name] = {
            "kernel": jnp.asarray(kernel / seen[:, None] * scales[name], jnp.float32),
            "bias": jnp.asarray(weights.params[name]["bias"] * scales[name], jnp.float32),
        }
        if not name.endswith("_aux"):
            before = scales[name]
    return replace(weights, params=params, sha256="")


def normalise_on_photos(weights: Weights, folder: Path, size: int = 256) -> tuple[Weights, int]:
    """`normalise` on the middle squares of a folder's photos; also gives their number."""
    photos = pictures_in(folder)
    return normalise(weights, (square(load(path), size) for path in photos)), len(photos)
