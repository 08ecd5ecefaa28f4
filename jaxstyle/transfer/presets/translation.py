"""Recipes with absolute weights, made for one network, on another: weights follow the scale of the features.

A weight such as "content 5" means something only beside the features it was chosen for. Programs of the
literature chose theirs for Oxford's VGG-19 on pixels of 0..255, whose features are some hundreds; those of a
normalised network are about one, and its smoothness term would then outweigh all else. So each layer's weight
is multiplied by how much larger its loss is, for the same picture, on the network that the recipe was made
for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.losses import Content, Gram, Patches
from jaxstyle.pytrees import replace
from jaxstyle.transfer.objective import Term
from jaxstyle.transfer.recipe import Recipe
from jaxstyle.weights.scales import Scale, alike, measured_scales, recorded_scales

Absolute = Content | Gram | Patches
"""Terms that may depend on the scale of features."""


def loss_scale(term: Term, scale: Scale) -> float:
    """What a term's loss at a layer is proportional to, from one network to another; 1: it does not depend on
    it."""
    channels = scale.channels
    match term:
        case Content(normalization="mean") | Patches(normalization="mean"):
            return scale.square
        case Content(normalization="paper") | Patches(normalization="paper" | "cnnmrf"):
            return scale.square * channels
        case Gram(normalization="paper"):
            return scale.gram / (4 * channels**2)
        case Gram(normalization="neural-style"):
            return scale.gram / channels**4
        case Gram(normalization="gatys-notebook"):
            return scale.gram / channels**2
        case _:
            return 1.0


def is_absolute(term: Term) -> bool:
    """Whether what a term says depends on the scale of features."""
    return loss_scale(term, Scale(1, 2.0, 2.0)) != 1.0 or _raw_matching(term)


def _raw_matching(term: Term) -> bool:
    return isinstance(term, Patches) and term.matching == "paper"


def translated(recipe: Recipe, weights: Weights) -> Recipe:
    """The recipe for these weights: `layer_weights` and γ of its absolute terms at their scale, `made_for`
    None.

    Nothing changes if the recipe is made for no network in particular, or if these features are those that it
    was made for (as wide, and within a factor of 3 of their strength).

    Raises:
      JaxstyleError: features are others, and a layer's scale is not recorded of the network that the recipe
        was made for.
    """
    absolute = {name: term for name, term in recipe.terms.items()
                if isinstance(term, Absolute) and is_absolute(term)}
    plain = replace(recipe, {"made_for": None})
    if recipe.made_for is None or not absolute:
        return plain
    layers = tuple(sorted({layer for term in absolute.values() for layer in term.layers}))
    theirs = recorded_scales(recipe.made_for)
    here = measured_scales(weights.with_network(pooling=recipe.pooling, border=recipe.border), layers)
    known = {layer: scale for layer, scale in here.items() if layer in theirs}
    if known and alike(known, theirs):
        return plain
    if unknown := [layer for layer in layers if layer not in theirs]:
        raise JaxstyleError(f"the recipe is made for {recipe.made_for}, of whose layer {unknown[0]} no scale "
                            f"is recorded (there are {', '.join(theirs)}); use one of these, or set made_for "
                            "to none and weights of your own")
    return replace(plain, {f"terms.{name}": _scaled(term, here, theirs) for name, term in absolute.items()})


def _scaled(term: Absolute, here: Mapping[str, Scale], theirs: Mapping[str, Scale]) -> Absolute:
    tiny = 1e-30
    weights = tuple(weight * loss_scale(term, theirs[layer]) / max(loss_scale(term, here[layer]), tiny)
                    for layer, weight in zip(term.layers, term.layer_weights))
    changes: dict[str, Any] = {"layer_weights": weights}
    if isinstance(term, Patches) and _raw_matching(term):
        # γ stands beside raw features, whose length is that of all channels.
        lengths = [here[layer].square * here[layer].channels / (theirs[layer].square * theirs[layer].channels)
                   for layer in term.layers]
        changes["gamma"] = term.gamma * math.sqrt(math.exp(sum(map(math.log, lengths)) / len(lengths)))
    return replace(term, changes)
