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
from jaxstyle.pytrees import check_field

__all__ = [
    "ARCHITECTURES", "VGG", "VGG16", "VGG19", "AlexNet", "Architecture", "GoogLeNet", "ResNet50",
    "SqueezeNet", "build", "checked", "parameter_shapes",
]
Architecture = Literal["vgg19", "vgg16", "alexnet", "resnet50", "squeezenet1_1", "googlenet"]
"""Names of the published networks."""
ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
MAX_WIDTH, MAX_LAYERS = 16_384, 200
CHOICES = {"pooling": ("max", "average"), "border": ("zero", "reflect", "replicate")}


def build(architecture: str, config: dict[str, Any]) -> nn.Module:
    """The module that a weights file names, with the attributes it records.

    Raises:
      JaxstyleError: an architecture or an attribute this version does not know.
    """
    attributes = {key: _tuples(value) for key, value in config.items()}
    standard = _module(architecture, {})
    for key, value in attributes.items():
        if key in ("parent", "name") or key not in type(standard).__dataclass_fields__:
            raise JaxstyleError(f"network '{architecture}' has no '{key}'")
        check_field(type(standard), key, value, f"config.{key}")
    return checked(_module(architecture, attributes))


def checked(network: nn.Module) -> nn.Module:
    """The network, if its pooling and border are known ones.

    Raises:
      JaxstyleError: they are not.
    """
    if isinstance(network, VGG):
        _check_vgg(network)
    for attribute, choices in CHOICES.items():
        if (value := getattr(network, attribute, choices[0])) not in choices:
            raise JaxstyleError(f"unknown {attribute} '{value}'; there are {', '.join(choices)}")
    return network


def _check_vgg(network: VGG) -> None:
    """Raise unless a VGG has layers, of 1 … `MAX_WIDTH` channels, and knows those that it names."""
    widths = [width for block in network.blocks for width in block] + [width for _, width in network.aux]
    if not all(network.blocks) or not 0 < len(network.blocks) <= 7 or len(widths) > MAX_LAYERS:
        raise JaxstyleError(f"a VGG has 1 to 7 blocks of layers, {MAX_LAYERS} in all at most")
    if min(widths) < 1 or max(widths) > MAX_WIDTH:
        raise JaxstyleError(f"a layer has 1 to {MAX_WIDTH} channels, not {min(widths)} to {max(widths)}")
    known = VGG(blocks=network.blocks, aux=network.aux).layers
    if unknown := {network.last, *dict(network.aux)} - {"", *known}:
        raise JaxstyleError(f"a VGG of these blocks has no layer '{min(unknown)}'")


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
