"""Named recipes of the patch family: Li & Wand's CNNMRF, Champandard's neural doodle, the course report's,
and ours.

Deviations common to all recipes: see `transfer.presets`. Weights of programs are those for Oxford's VGG-19;
on another network they are translated (see `transfer.presets.translation`).
"""

from __future__ import annotations

from jaxstyle.losses import Content, Patches, TotalVariation
from jaxstyle.solvers import ArmijoLbfgs, ScipyLbfgsb
from jaxstyle.transfer.recipe import PIXEL_RANGE, Recipe, Stage, Start
from jaxstyle.weights.scales import OXFORD

"""Every recipe keeps pixels in range while it optimises, so that the picture delivered is the one measured.
The programs of the literature clip when they save, which can multiply the loss."""

PATCHES = Recipe(
    terms={
        "content": Content(weight=0.5, palette=1.0, normalization="relative"),
        "style": Patches(weight=1.0, gamma=1.0, anchor=1.0),
        "tv": TotalVariation(weight=2.0),
    },
    solver=ArmijoLbfgs(box=PIXEL_RANGE),
    start=Start(noise=0.0),
    stages=(Stage(size=128, steps=100), Stage(size=256, steps=100), Stage(size=512, steps=60)),
    pooling="average",
)
"""Ours, after Li & Wand 2016 and Champandard 2016: 3×3 patches of relu3_1 and relu4_1 with semantic maps if
there are any, coarse to fine, losses and matching relative to their scale: it works with any network.

Maps keep the sitter of a portrait; where there are none, the anchor does: matched as what it had turned
into, a face got moons of *Starry Night* on nose and cheeks, even with an anchor of 0.75, or content six times
as heavy. Content is the photo in the painting's colours, which would else stay the photo's.
"""

DOODLE = Recipe(
    terms={
        "style": Patches(weight=1.0, gamma=2.0),
        "tv": TotalVariation(weight=2.0),
    },
    solver=ArmijoLbfgs(box=PIXEL_RANGE),
    start=Start(noise=1.0, deviation=0.15),
    stages=(Stage(size=128, steps=120), Stage(size=256, steps=100), Stage(size=512, steps=60)),
    pooling="average",
)
"""Ours, for a map and no photo: `PATCHES` without content, from noise, phases at ¼, ½ and full size, maps
counting twice as much as looks. The noise is weak, because what features do not see of it stays as speckle.
"""

NEURAL_DOODLE = Recipe(
    terms={
        "content": Content(weight=10.0, normalization="mean"),
        "style": Patches(weight=25.0, gamma=10.0, matching="neural-doodle", normalization="mean"),
        "tv": TotalVariation(weight=255**2.5, form="power"),
    },
    solver=ScipyLbfgsb(history=5, single=True),
    start=Start(noise=1.0, deviation=112 / 255),
    stages=tuple(Stage(size=size, steps=100) for size in (128, 256, 512)),
    pooling="average",
    made_for=OXFORD,
)
"""Champandard's program neural doodle (2016) with its default flags: phases at ¼, ½ and full size, L-BFGS-B
within the range of pixels, noise 16 to 240 of 255, content 10 at relu4_2, patches 25 at relu3_1 and relu4_1,
smoothness 1 (of pixels in 0..255, converted here), semantic weight 10 (its documentation says 1), no variety.

A step is an evaluation, and a phase has 100 of them, as the program counts. Deviations: the full size is 512
pixels, not the content's own; the result of a phase is enlarged by Lanczos, not bicubically; the best point
of a phase goes on, not the last.
"""

CNNMRF = Recipe(
    terms={
        "content": Content(weight=20.0, normalization="mean"),
        "style": Patches(weight=1e-4, stride=2, rotations=1, scales=1, matching="paper",
                         normalization="cnnmrf"),
        "tv": TotalVariation(weight=1e-3 * 255**2 / 2, reduction="sum"),
    },
    solver=ArmijoLbfgs(box=PIXEL_RANGE),
    start=Start(noise=0.0),
    stages=tuple(Stage(size=size, steps=100) for size in (96, 192, 384)),
    pooling="max",
    made_for=OXFORD,
)
"""Li & Wand 2016 as their program CNNMRF does it: 3×3 patches of relu3_1 and relu4_1 at stride 2 with the
tail, matched over nine copies of the painting (−7.5°, 0, 7.5° × 1/1.05, 1, 1.05) by whole-patch cosine; at
each layer the gradient 1e-4 · (F − T/n); content 20 at relu4_2; total variation 1e-3; 100 steps at each of
three sizes, the longer side 384, from the photo.

Its content module passes back weight · ∇ mean (F − P)² like neural-style's, hence "mean"; total variation
exists there as a gradient only, that of ½ Σ (dx² + dy²) in 0..255, and is in the loss here. Deviations:
steps that decrease the loss, within the range of pixels (the program's L-BFGS takes full steps); the total is
a true function between two matchings, where the program adds gradients to a loss that it does not compute;
copies are cut from the painting at the size of the stage; maps, which CNNMRF does not know, are used if there
are any.
"""

SEMANTIC_REPORT = Recipe(
    terms={
        "content": Content(weight=2.0, normalization="paper"),
        "style": Patches(weight=1.0, gamma=50.0 * 255, matching="paper", normalization="paper"),
        "tv": TotalVariation(weight=255.0**2, reduction="sum"),
    },
    solver=ArmijoLbfgs(box=PIXEL_RANGE),
    start=Start(noise=1.0),
    stages=(Stage(size=384, steps=300),),
    pooling="average",
    made_for=OXFORD,
)
"""The course report on semantic style transfer, after Champandard's paper: E = E_s + α₁ E_c + α₂ Γ with sums
of squares, 3×3 patches of x ‖ γ m at relu3_1 and relu4_1 (maps in RGB, γ 50 on their 0..255), content at
relu4_2, squared total variation, white noise, L-BFGS.

The report leaves open, and we chose: α₁ = 1 (its E_c has no ½, ours has, so the weight is 2), α₂ = 1 on
pixels of 0..255, one size of 384 pixels, 300 steps, average pooling. Deviations: the report's E_s has the
map's part of each patch in it, too, which does not depend on the image once patches are matched and is left
out here; pixels are kept in their range.
"""
