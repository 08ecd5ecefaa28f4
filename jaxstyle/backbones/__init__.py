"""Flax networks that map an image to named features."""

from __future__ import annotations

from typing import Any, Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxstyle.backbones.alexnet import AlexNet
from jaxstyle.backbones.googlenet import GoogLeNet
from jaxstyle.backbones.resnet import ResNet50
from jaxstyle.backbones.squeezenet import SqueezeNet
from jaxstyle.backbones.vgg import VGG, VGG16, VGG19
from jaxstyle.errors import JaxstyleError

__all__ = [
    "ARCHITECTURES", "VGG", "VGG16", "VGG19", "AlexNet", "Architecture", "GoogLeNet", "ResNet50",
    "SqueezeNet", "build", "checked", "parameter_shapes",
]
Architecture = Literal["vgg19", "vgg16", "alexnet", "resnet50", "squeezenet1_1", "googlenet"]
"""Names of the published networks."""
ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
CHOICES = {"pooling": ("max", "average"), "border": ("zero", "reflect", "replicate")}


def build(architecture: str, config: dict[str, Any]) -> nn.Module:
    """The module that a weights file names, with the attributes it records.

    Raises:
      JaxstyleError: an architecture or an attribute this version does not know.
    """
    attributes = {key: _tuples(value) for key, value in config.items()}
    try:
        return checked(_module(architecture, attributes))
    except TypeError as error:
        raise JaxstyleError(f"'{architecture}' cannot be built with {config} ({error})") from None


def checked(network: nn.Module) -> nn.Module:
    """The network, if its pooling and border are known ones.

    Raises:
      JaxstyleError: they are not.
    """
    for attribute, choices in CHOICES.items():
        if (value := getattr(network, attribute, choices[0])) not in choices:
            raise JaxstyleError(f"unknown {attribute} '{value}'; there are {', '.join(choices)}")
    return network


def _module(architecture: str, attributes: dict[str, Any]) -> nn.Module:
    match architecture:
        case "vgg16":
            return VGG(**{"blocks": VGG16, **attributes})
        case "vgg19" | "vgg19-slim":
            return VGG(**attributes)
        case "alexnet":
            return AlexNet(**attributes)
        case "resnet50":
            return ResNet50(**attributes)
        case "squeezenet1_1":
            return SqueezeNet(**attributes)
        case "googlenet":
            return GoogLeNet(**attributes)
        case _:
            raise JaxstyleError(f"unknown architecture '{architecture}'")


def parameter_shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Kernel shape `(kh, kw, in, out)` of every layer with parameters, in order of computation."""
    image = jax.ShapeDtypeStruct((256, 256, 3), jnp.float32)
    tree = jax.eval_shape(
        lambda key, x: network.init(key, x, (network.layers[-1],)), jax.random.key(0), image
    )["params"]
    kernels = {name: layer["kernel"].shape for name, layer in tree.items()}
    return {name: kernels[name] for name in network.layers if name in kernels}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
