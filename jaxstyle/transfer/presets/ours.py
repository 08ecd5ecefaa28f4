"""Recipes of our own."""

from __future__ import annotations

from jaxstyle.backbones.vgg import STYLE_LAYERS
from jaxstyle.losses import Content, Gamut, Gram, Neighbours, Palette, TotalVariation
from jaxstyle.pytrees import replace
from jaxstyle.solvers import ArmijoLbfgs
from jaxstyle.transfer.recipe import PIXEL_RANGE, Recipe, Stage, Start

DEFAULT = Recipe(
    terms={
        "content": Content(weight=0.6, layer_weights=(0.5, 0.5), layers=("relu3_1", "relu4_2"),
                           normalization="relative", palette=1.0, structure=0.7),
        "neighbours": Neighbours(weight=1.0, layers=STYLE_LAYERS[:4], layer_weights=(1.0,) * 4, palette=1.0,
                                 patch=3),
        "style": Gram(weight=6.0, normalization="relative"),
        "gamut": Gamut(weight=5.0, reach=2.5),
        "palette": Palette(weight=30.0),
        "tv": TotalVariation(weight=1.0, chroma=5.0),
    },
    solver=ArmijoLbfgs(box=PIXEL_RANGE),
    start=Start(noise=0.0),
    stages=tuple(Stage(size=size, steps=40) for size in (64, 128, 256, 512)),
    pooling="average",
)
"""Ours, tuned by eye: after Kolkin et al. 2022, everything in the photo looks like what resembles it most in
the painting, and Gram matrices bring what is larger than that, such as swirls.

How freely it is painted: `terms.style.weight`, 2 (keeps portraits) … 24 (large texture), or a strength.
The photo is compared in the painting's colours (`palette`), and where it is flat, as skies are, it counts
three tenths (`structure`): there Gram matrices paint as they like, while eyes and windows stay. Colours keep
near those that the painting has (`gamut`), in its shares (`palette`). Losses are relative to their targets
or to the range of pixels, and the layers are those that any VGG has, so it means the same for any size and
network. L-BFGS with steps projected into the range of pixels.
"""

QUICK = replace(DEFAULT, {"stages": (Stage(size=128, steps=40), Stage(size=256, steps=30),
                                     Stage(size=512, steps=8))})
"""`DEFAULT` with a fraction of its steps: a quarter of the time."""

GRAM = Recipe(
    terms={
        "content": Content(weight=1.0, normalization="relative"),
        "style": Gram(weight=30.0, normalization="relative"),
        "tv": TotalVariation(weight=1.0),
    },
    solver=ArmijoLbfgs(box=PIXEL_RANGE),
    start=Start(noise=0.3),
    stages=(Stage(size=256, steps=150), Stage(size=512, steps=100)),
    pooling="average",
)
"""The Gram loss alone, ours, tuned by eye: coarse to fine, from the photo under some noise. (The default up
to version 0.3, which kept pixels near their range by a term instead of within it.)

Losses are relative to their targets, so that one strength (`terms.style.weight`, 3 … 300) means the same
for any size and network. Average pooling and a little total variation keep speckle away. `ArmijoLbfgs`
evaluates once per step and holds the objective once, so it compiles and runs faster than a line search.
"""
