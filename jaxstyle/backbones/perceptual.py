"""Perceptual networks with their parameters: one safetensors file each, found by name.

A file holds the tensors `conv1_1/kernel` (`[kh, kw, in, out]`), `conv1_1/bias`, … and
`preprocess/kernel` `[3, 3]`, `preprocess/bias` `[3]`: the affine map from RGB in [0, 1] to what the
network was trained on. So the input convention belongs to the file and no caller can get it wrong.
Its metadata says which architecture to build and where the numbers come from.
"""

from __future__ import annotations

from typing import Any, cast

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxstyle import backbones, ops
from jaxstyle.errors import JaxstyleError
from jaxstyle.pytrees import pytree, static

# RGB in [0, 1] to what each family of published weights was trained on: x @ kernel + bias.
CAFFE_BGR = np.array([[0, 0, 255], [0, 255, 0], [255, 0, 0]], np.float32)
CONVENTIONS = {
    "caffe-vgg": (CAFFE_BGR, np.array([-103.939, -116.779, -123.68], np.float32)),
    "matconvnet": (
        np.diag([255, 255, 255]).astype(np.float32),
        np.array([-123.68, -116.779, -103.939], np.float32),
    ),
    "caffe-104-117-123": (CAFFE_BGR, np.array([-104, -117, -123], np.float32)),
    "torchvision": (
        np.diag(1 / np.array([0.229, 0.224, 0.225])).astype(np.float32),
        -np.array([0.485 / 0.229, 0.456 / 0.224, 0.406 / 0.225], np.float32),
    ),
}


@pytree
class Weights:
    """A network with its parameters and its own preprocessing.

    Attributes:
      params: layer name -> {"kernel", "bias"}.
      matrix: `[3, 3]`, offset: `[3]`: network input = image @ matrix + offset.
      network: the Flax module.
      name: how the user asked for it.
      sha256: of its numbers, architecture and configuration, but not of remarks such as the licence
        ("" for random numbers made in place).
    """

    params: dict[str, Any]
    matrix: Array
    offset: Array
    network: nn.Module = static()
    name: str = static(default="")
    sha256: str = static(default="")

    def features(self, image: Array, layers: tuple[str, ...]) -> dict[str, Array]:
        """Features `[h, w, c]` of an image `[H, W, 3]` (RGB in [0, 1]) at the named layers.

        Raises:
          JaxstyleError: a layer the network does not have, or an image too small for a layer.
        """
        self.must_have(layers)
        matrix, offset = self.matrix.astype(image.dtype), self.offset.astype(image.dtype)
        variables = {"params": self.params}
        x = image @ matrix + offset[None, None]
        found = cast(dict[str, Array], self.network.apply(variables, x, tuple(layers)))
        for layer, feature in found.items():
            if 0 in feature.shape:
                raise JaxstyleError(
                    f"an image of {image.shape[1]}×{image.shape[0]} pixels is too small for layer "
                    f"{layer}; use a larger one", "size"
                )
        return found

    def must_have(self, layers: tuple[str, ...]) -> None:
        """Raises:
          JaxstyleError: the network lacks one of the layers.
        """
        known = self.network.layers
        for layer in layers:
            if layer not in known:
                raise JaxstyleError(f"network '{self.name}' has no layer '{layer}'; it has "
                                    f"{', '.join(known)}")

    def prepared(self, precision: str = "float32", layers: tuple[str, ...] = ()) -> Weights:
        """The same network with its parameters in the form that computes fastest: `ops.prepare`.

        If `layers` are given, without the parameters of those that come after the last of them.
        """
        params = ops.prepare(self.params_up_to(layers), precision)
        return Weights(params=params, matrix=self.matrix, offset=self.offset, network=self.network,
                       name=self.name, sha256=self.sha256)

    def params_up_to(self, layers: tuple[str, ...] = ()) -> dict[str, Any]:
        """The parameters without those of layers that come after the last of `layers`; none given: all."""
        order = self.network.layers
        last = max((order.index(name) for name in layers if name in order), default=len(order))
        return {name: layer for name, layer in self.params.items() if order.index(name) <= last}

    def with_network(self, **attributes: Any) -> Weights:
        """The same parameters in a network with other attributes: pooling="average"; None keeps.

        Raises:
          JaxstyleError: an attribute that this network does not have, or a value it does not know.
        """
        changed = {key: value for key, value in attributes.items() if value is not None}
        known = attributes_of(self.network)
        for key in changed:
            if key not in known:
                kind = type(self.network).__name__.lower()
                raise JaxstyleError(
                    f"network '{kind}' has no '{key}'; it has {', '.join(known)}"
                )
        network = backbones.checked(self.network.clone(**changed))
        return Weights(params=self.params, matrix=self.matrix, offset=self.offset, network=network,
                       name=self.name, sha256=self.sha256)


def random_weights(seed: int = 0, network: nn.Module | None = None) -> Weights:
    """Seeded random parameters, He-normal with zero bias: features keep unit scale at any depth.

    Textures and Gram losses already work on such a network; it needs no download.
    """
    network = network or backbones.VGG(border="reflect")
    matrix, offset = CONVENTIONS["torchvision"]
    generator = np.random.default_rng(seed)
    params = {}
    for layer, shape in backbones.parameter_shapes(network).items():
        scale = np.float32(np.sqrt(2 / np.prod(shape[:3])))
        kernel = scale * generator.standard_normal(shape, np.float32)
        params[layer] = {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(shape[-1])}
    return Weights(params=params, matrix=jnp.asarray(matrix), offset=jnp.asarray(offset),
                   network=network, name="random", sha256="")


def attributes_of(network: nn.Module) -> dict[str, Any]:
    """What a network can be set to: the fields of its module."""
    return {field: getattr(network, field) for field in type(network).__dataclass_fields__
            if field not in ("parent", "name")}
