"""What the layers of published weights files are called here.

Own names are those of the literature (`conv4_2`, `fire2/squeeze1x1`, `inception_3a/1x1`) and, for
ResNet, those of torchvision with a slash before the part of a block (`layer1_0/conv1`).
Keras numbers blocks (`block4_conv2`), Keras 3 sometimes all convolutions (`conv2d_9`), torchvision
numbers modules (`features.21`).
"""

from __future__ import annotations

import re
from collections.abc import Collection

from jaxstyle.backbones import VGG16, VGG19

# what training scripts put before the names of torchvision's modules
PREFIX = re.compile(r"^((state_dict|model|module|net|network)\.)+")
ALEXNET_MODULES = (0, 3, 6, 8, 10)
# torchvision squeezenet1_1: module number in `features` -> fire module
FIRE_MODULES = {3: 2, 4: 3, 6: 4, 7: 5, 9: 6, 10: 7, 11: 8, 12: 9}


def vgg_modules(blocks: tuple[tuple[int, ...], ...]) -> dict[str, str]:
    """torchvision's `features.N` of every convolution -> own name; ReLU and pooling count too."""
    names, module = {}, 0
    for i, widths in enumerate(blocks, start=1):
        for j in range(1, len(widths) + 1):
            names[f"features.{module}"] = f"conv{i}_{j}"
            module += 2
        module += 1
    return names


def torch_modules(architecture: str) -> dict[str, str]:
    """torchvision's module names -> own layer names, for networks that number their modules."""
    match architecture:
        case "vgg16":
            return vgg_modules(VGG16)
        case "vgg19":
            return vgg_modules(VGG19)
        case "alexnet":
            return {f"features.{n}": f"conv{i}" for i, n in enumerate(ALEXNET_MODULES, start=1)}
        case "squeezenet1_1":
            fires = {
                f"features.{n}.{part}": f"fire{fire}/{part}{size}"
                for n, fire in FIRE_MODULES.items()
                for part, size in (("squeeze", "1x1"), ("expand1x1", ""), ("expand3x3", ""))
            }
            return {"features.0": "conv1", **fires, "classifier.1": "conv10"}
        case _:
            return {}


def own_name(architecture: str, name: str, known: Collection[str]) -> tuple[str, bool] | None:
    """Own layer name of a layer of a file, and whether it is the batch normalisation of that layer.

    Args:
      known: every layer of the network that has parameters, in order of computation.

    Returns:
      None for a layer that this network leaves out, such as VGG's fully connected ones.
    """
    name = PREFIX.sub("", name)
    if name in known:
        return name, False
    if match := re.fullmatch(r"block(\d)_conv(\d)(_aux)?", name):
        own = f"conv{match[1]}_{match[2]}{match[3] or ''}"
        return (own, False) if own in known else None
    if match := re.fullmatch(r"conv2d(?:_(\d+))?", name):
        order, place = list(known), int(match[1] or 0)
        return (order[place], False) if place < len(order) else None
    if own := torch_modules(architecture).get(name, ""):
        return (own, False) if own in known else None
    if architecture == "resnet50":
        return _resnet_name(name, known)
    return None


def _resnet_name(name: str, known: Collection[str]) -> tuple[str, bool] | None:
    """`layer1.0.bn2` -> (`layer1_0/conv2`, True); `….downsample.0` -> (`…/downsample`, False)."""
    if name == "bn1":
        return "conv1", True
    match = re.fullmatch(r"layer(\d)\.(\d+)\.(conv|bn|downsample\.)(\d)", name)
    if not match:
        return None
    block = f"layer{match[1]}_{match[2]}"
    if match[3] == "downsample.":
        own, normalisation = f"{block}/downsample", match[4] == "1"
    else:
        own, normalisation = f"{block}/conv{match[4]}", match[3] == "bn"
    return (own, normalisation) if own in known else None


def _number(name: str) -> int:
    match = re.fullmatch(r"conv2d_(\d+)", name)
    return int(match[1]) if match else -1


def guess_architecture(layers: Collection[str], file_name: str) -> str | None:
    """The architecture that a file's layer names, or else its own name, speak of."""
    names = {PREFIX.sub("", name) for name in layers}
    marks = {
        "squeezenet1_1": ("fire2/squeeze1x1", "features.3.squeeze"),
        "googlenet": ("inception_3a/1x1",),
        "resnet50": ("layer3.5.conv3", "layer3_5/conv3"),
        "vgg19": ("conv3_4", "block3_conv4", "features.34"),
    }
    for architecture, signs in marks.items():
        if names.intersection(signs):
            return architecture
    # Keras 3 counts: 13 convolutions in VGG-16, 16 in VGG-19
    last = {"conv2d_12": "vgg16", "conv2d_15": "vgg19"}.get(max(names, key=_number, default=""))
    if last:
        return last
    for architecture in ("vgg19", "vgg16", "alexnet"):
        if architecture in file_name.lower().replace("-", "").replace("_", ""):
            return architecture
    if names.intersection(("conv5_3", "block5_conv3", "features.28")):
        return "vgg16"
    if {"features.0", "features.3", "features.6"} <= names and "features.2" not in names:
        return "alexnet"
    return None
