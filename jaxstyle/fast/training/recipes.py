"""Trainings of the literature and of well-known programs, as constants.

Deviations common to all: images are in [0, 1], so total-variation weights of programs that work in 0..255
are converted; features are taken after the rectifier; photos are cropped at a random scale and mirrored.
Absolute weights are meant for Oxford's networks; see `on_network` for others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import Weights
from jaxstyle.backbones.vgg import VGG16, VGG19
from jaxstyle.errors import JaxstyleError, one_of
from jaxstyle.fast.training.recipe import Architecture, Training
from jaxstyle.losses import TERMS, Content, Gamut, Gram, TotalVariation
from jaxstyle.pytrees import from_json, replace
from jaxstyle.reading import too_deep
from jaxstyle.transfer.objective import Terms, layers_of

VGG16_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
EPOCHS = 2 * 82_783 // 4
"""Steps of two epochs of COCO 2014's training photos in batches of 4."""
RELATIVE: Terms = {
    "content": Content(weight=1.0, layer_weights=(0.5, 0.5), layers=("relu3_1", "relu4_2"),
                       normalization="relative", structure=0.6),
    "style": Gram(weight=10.0, normalization="relative"),
    "gamut": Gamut(weight=5.0),
    "tv": TotalVariation(weight=1.0),
}
"""Losses relative to their targets, which mean the same on any network: VGG-19's layers."""

DEFAULT = Training(
    terms=RELATIVE, palette=1.0, learning_rate=1e-3, warmup=50, copying=400, schedule="cosine", clip=10.0,
    steps=40_000, pooling="average", architecture=Architecture(output="linear"),
)
"""Ours: conditional instance norm, nearest enlargement, reflection; the photo is compared in each painting's
colours, and copied in them first; Adam with warm-up, cosine
schedule and clipping; the averaged parameters are the result. The output is linear: where a tanh saturates,
black blots have no gradient to leave by."""

JOHNSON_2016 = Training(
    terms={
        "content": Content(weight=1.0, layers=("relu3_3",)),
        "style": Gram(weight=5.0, layer_weights=(1.0,) * 4, layers=VGG16_LAYERS,
                      normalization="gatys-notebook"),
        "tv": TotalVariation(weight=1e-6 * 255**2, reduction="sum"),
    },
    architecture=Architecture(norm="batch", upsample="transposed"), average=0.0,
)
"""Johnson, Alahi & Fei-Fei 2016: VGG-16, batch norm, transposed convolutions, tanh · 150, Adam 1e-3, batch 4,
40,000 steps at 256 px.

Deviation: every convolution is padded by reflection (the paper pads once, by 40 pixels, and crops the skips).
"""

INSTANCE_NORM = replace(JOHNSON_2016, {"architecture": Architecture(norm="instance")})
"""Ulyanov, Vedaldi & Lempitsky 2016: Johnson's with instance norm; enlargement after Odena et al. 2016.
"""

PYTORCH_EXAMPLES = Training(
    terms={
        "content": Content(weight=1e5, layers=("relu2_2",)),
        "style": Gram(weight=1e10, layer_weights=(1.0,) * 4, layers=VGG16_LAYERS,
                      normalization="neural-style"),
    },
    architecture=Architecture(norm="instance", output="linear"), average=0.0, steps=EPOCHS,
)
"""pytorch/examples' fast_neural_style: torchvision's VGG-16, linear output, content 1e5, style 1e10.

Deviation: the painting has a longer side of 256 pixels (the program takes it as it is unless told)."""

LENGSTROM = Training(
    terms={
        "content": Content(weight=7.5),
        "style": Gram(weight=100.0, layer_weights=(1.0,) * 5, normalization="neural-style"),
        "tv": TotalVariation(weight=200.0 * 255**2),
    },
    architecture=Architecture(norm="instance", upsample="transposed", padding="zero", output_norm=True,
                              alignment="tensorflow", epsilon=1e-3),
    average=0.0, steps=EPOCHS,
)
"""lengstrom/fast-style-transfer: VGG-19 relu4_2 and relu1_1 … 5_1; content 7.5, style 100, TV 200.
"""

MULTI_STYLE = Training(
    terms={
        "content": Content(weight=1.0, layers=("relu3_3",)),
        "style": Gram(weight=5.0, layer_weights=(1.0,) * 4, layers=VGG16_LAYERS,
                      normalization="gatys-notebook"),
    },
    architecture=Architecture(output="sigmoid"), batch=16, average=0.0,
)
"""Dumoulin, Shlens & Kudlur 2017: one scale and offset per style, nearest enlargement, mirror padding,
sigmoid, Adam 1e-3, batch 16, 40,000 steps.

Deviation: Johnson's loss weights; the paper gives none."""

DEEP_STYLE = Training(
    terms={"content": Content(weight=1.0, layers=("relu2_2",)),
           "style": Gram(weight=1e3, normalization="paper")},
    architecture=Architecture(norm="instance"), average=0.0,
)
"""The course report "Deep Style": Johnson's network with instance norm, content from the second block,
five style layers of weight .20, α/β = 1e-3."""

RECIPES = {
    "default": DEFAULT, "johnson-2016": JOHNSON_2016, "instance-norm": INSTANCE_NORM,
    "pytorch-examples": PYTORCH_EXAMPLES, "lengstrom": LENGSTROM, "multi-style": MULTI_STYLE,
    "deep-style": DEEP_STYLE,
}


def named(name: str) -> Training:
    """The recipe of a name.

    Raises:
      JaxstyleError: naming the choices.
    """
    one_of("training recipe", name, RECIPES)
    return RECIPES[name]


def training_from_json(data: Any) -> Training:
    """A recipe from the form that `to_json` gave it.

    Raises:
      JaxstyleError: it is none, or one with terms or settings that this version does not know.
    """
    if not isinstance(data, Mapping) or data.get("type") != Training.__name__ or too_deep([data]):
        raise JaxstyleError("recipe: this is not one of a training")
    recipe: Training = from_json(data, (Training, Architecture, *TERMS))
    return recipe


def on_network(recipe: Training, weights: Weights) -> tuple[Training, str]:
    """The recipe with losses that make sense on a network, and what was changed ("" if nothing).

    Only Oxford's VGG-16 and VGG-19 have the scale that absolute weights are meant for, and vgg19-slim
    imitates its teacher at relu1_1 … 5_1 and 4_2 alone: other networks of VGG's layers get losses relative to
    their targets there.

    Raises:
      JaxstyleError: the recipe wants layers that the network does not have, nor has it VGG-19's.
    """
    network = weights.network
    absolute = any(getattr(term, "normalization", "relative") != "relative"
                   for term in recipe.terms.values())
    published = isinstance(network, VGG) and network.blocks in (VGG16, VGG19)
    wanted = [layer for term in recipe.terms.values() for layer in term.layers]
    missing = [layer for layer in wanted if layer not in network.layers]
    if not missing and (published or not absolute):
        return recipe, ""
    relative = layers_of(RELATIVE)
    if any(layer not in network.layers for layer in relative):
        raise JaxstyleError(f"network '{weights.name}' has no layer '{(missing or wanted)[0]}'; train with a "
                            f"VGG, or choose layers among {', '.join(network.layers)}")
    terms = {**RELATIVE, **({} if "tv" in recipe.terms else {"tv": TotalVariation(weight=0.0)})}
    return replace(recipe, {"terms": terms}), (
        f"on '{weights.name}' with losses relative to their targets at relu1_1 … 5_1, and at relu3_1 and "
        "relu4_2 for the photo, because "
        "the recipe's are meant for Oxford's networks")
