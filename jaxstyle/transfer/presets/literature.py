"""Named recipes: what the literature and well-known programs do, as constants.

Deviations common to all: images are RGB in [0, 1] here whatever the network takes, so learning rates and
total-variation weights of programs that work in 0..255 are converted; style images keep their own aspect
ratio.
"""

from __future__ import annotations

from jaxstyle.losses import Content, Gram, Neighbours, RelaxedTransport, SelfSimilarity, TotalVariation
from jaxstyle.solvers import Adam, ArmijoLbfgs, RMSprop, ScipyLbfgsb
from jaxstyle.transfer.canvas import LaplacianPyramid
from jaxstyle.transfer.recipe import PIXEL_RANGE, Recipe, Stage, Start
from jaxstyle.weights.scales import OXFORD

NEAREST_NEIGHBOURS = Recipe(
    terms={"neighbours": Neighbours(scaling="channels")},
    solver=Adam(learning_rate=2e-3),
    canvas=LaplacianPyramid(gain=1.0, levels=8),
    start=Start(noise=0.0),
    stages=tuple(Stage(size=size, steps=200) for size in (64, 128, 256, 512)),
    pooling="max",
)
"""Kolkin et al. 2022, "Neural Neighbor Style Transfer", as the authors' program has it: hypercolumns of
conv1_1 … conv4_3 at a quarter of the size, scales 64 to 512, 200 steps of Adam at 2e-3 on a Laplacian pyramid
of 8 levels.

Deviations: the given network instead of VGG-16, whose conv3_4 and conv4_3 are not the same; features are
averaged, not interpolated, where they are reduced (which leaves a lattice); the photo is the first image at
64 pixels, and no band of the pyramid starts at zero; pixels are squashed into range, not clipped at the end;
no second phase of feature splitting (the term is `Splitting`), which wipes out eyes; no colour step.
"""

STROTSS = Recipe(
    terms={
        "content": SelfSimilarity(weight=16.0, full_at=64.0),
        "style": RelaxedTransport(weight=2.5, palette=0.5),
    },
    solver=RMSprop(learning_rate=2e-3, decay=0.99),
    canvas=LaplacianPyramid(gain=1.0, levels=5),
    start=Start(noise=0.0),
    stages=tuple(Stage(size=size, steps=200) for size in (64, 128, 256, 512)),
    pooling="max",
)
"""Kolkin, Salavon & Shakhnarovich 2019 (STROTSS): relaxed optimal transport of hypercolumns at 1,024 places
drawn anew for every step, moments, palette; content as self-similarity, of weight 16 at 64 pixels, halved at
every scale; 200 steps of RMSprop at 2e-3 on a Laplacian pyramid of 5 levels per scale.

Deviations: the given network instead of VGG-16, its layers scaled to the size of colours; content and style
draw their places separately, the style's anew for every step; the palette weighs 1/2 throughout (1/16 to 1/2
there); the photo is the first image, not its finest band on the painting's mean colour; pixels are squashed
into range, not clipped at the end.
"""

GATYS_2015 = Recipe(
    terms={
        "content": Content(weight=1.0, normalization="paper"),
        "style": Gram(weight=1e3, normalization="paper"),
    },
    solver=ArmijoLbfgs(box=PIXEL_RANGE),
    start=Start(noise=1.0),
    stages=(Stage(size=512, steps=500),),
    pooling="average",
    made_for=OXFORD,
)
"""Gatys, Ecker & Bethge 2015/2016: noise start, average pooling, α/β = 1e-3, content at conv4_2 and style at
conv1_1 … conv5_1 with weights 1/5, L-BFGS.

Deviations: features are taken after the rectifier (as in the authors' code); a Gram matrix is divided by its
own number of positions, which is the paper's E_l where both images have the same number; the noise is uniform
in [0, 1], of which the paper says only that it is white; 500 steps at 512 pixels are ours.
"""

GATYS_NOTEBOOK = Recipe(
    terms={
        "content": Content(weight=1.0, normalization="mean"),
        "style": Gram(weight=1e3, layer_weights=(1.0,) * 5, normalization="neural-style"),
    },
    solver=ArmijoLbfgs(history=100, box=PIXEL_RANGE),
    start=Start(noise=0.0),
    stages=(Stage(size=512, steps=500, by="shorter"),),
    pooling="max",
    made_for=OXFORD,
)
"""Gatys' PyTorch notebook: content start, shorter side 512, 500 L-BFGS steps, max pooling.

Its layer weights 1e3/c² on mean (G/N − A/N)² are written as weight 1e3 on the normalization "neural-style",
which is the same number. Deviations: steps that decrease the loss, within the
range of pixels (the notebook's torch L-BFGS takes full steps); its second
pass at 800 pixels is left out.
"""

NEURAL_STYLE = Recipe(
    terms={
        "content": Content(weight=5.0, normalization="mean"),
        "style": Gram(weight=100.0, layer_weights=(1.0,) * 5, normalization="neural-style"),
        "tv": TotalVariation(weight=1e-3 * 255**2 / 2, reduction="sum"),
    },
    solver=ArmijoLbfgs(history=100, box=PIXEL_RANGE),
    start=Start(noise=1.0, deviation=1e-3 / 255, distribution="normal"),
    stages=(Stage(size=512, steps=1000),),
    pooling="max",
    made_for=OXFORD,
)
"""Johnson's Torch program neural-style with its default flags: longer side 512, 1000 steps, noise of 1e-3.

Its total variation exists as a gradient only, that of 1e-3 · ½ Σ(dx² + dy²) in 0..255; here it is in the
loss, in [0, 1]. Deviations: steps that decrease the loss, within the range of
pixels (the program's L-BFGS takes full steps); the noise surrounds
mid-grey, not ImageNet's mean colour; features are those of the given weights (the program scales pixels by
256, not 255).
"""

CROWSON = Recipe(
    terms={
        "content": Content(weight=0.015, normalization="mean"),
        "style": Gram(weight=1.0, layer_weights=tuple(2.0**-k for k in (0, 2, 4, 6, 8)),
                      normalization="relative"),
        "tv": TotalVariation(weight=2.0),
    },
    solver=Adam(learning_rate=0.02, b1=0.9, b2=0.99, box=(0.0, 1.0)),
    start=Start(noise=0.0),
    stages=(Stage(size=128, steps=1000), *(Stage(size=size, steps=500) for size in (181, 256, 362, 512))),
    border="replicate",
    pooling="max",
)
"""After Crowson's style-transfer-pytorch: scales 128·√2ᵏ to 512, Adam 0.02 with pixels kept in [0, 1],
content start, layer weights 256:64:16:4:1, 1000 steps and then 500 per scale.

Deviations: Gram matrices relative to their target instead of the Wasserstein-2 distance of means and
covariances, with layer weights scaled to 1 at the first; first-order differences instead of the nine-point
total variation; the best image is the result, not a running average; replicate padding on every layer, not
on conv1_1 only; the optimiser starts afresh at each scale.
"""

DEEP_STYLE = Recipe(
    terms={
        "content": Content(weight=2.0, normalization="paper"),
        "style": Gram(weight=1e3, layer_weights=(0.2,) * 5, normalization="paper"),
    },
    solver=ArmijoLbfgs(box=PIXEL_RANGE),
    start=Start(noise=1.0),
    stages=(Stage(size=512, steps=500),),
    pooling="max",
    made_for=OXFORD,
)
"""The course report "Deep Style", its baseline: content Σ(F − P)² (without Gatys' ½, hence a weight of 2 on
½Σ), style weights .20 for each of five layers, α/β = 1e-3, VGG-19 normalised as Gatys et al. did, white
noise, L-BFGS.

It contradicts itself: its algorithm writes α·style + β·content with α/β = 1e-3, its study of the trade-off
takes α as the content's, as Gatys does; here α is the content's. And where filters have a mean activation
of 1, the sum of the content outweighs 1e3 times these Gram losses by far: to the letter no style would show
(at 64 pixels, 60 steps on vgg19-slim, which is so normalised, the style's loss went from 1.4e3 to 1.3e3
while the content's went from 4.7e4 to 2.4e2). Its figures show style, so the weights are at the scale of
Oxford's features here, whose losses balance at 1e-3; `made_for` none gives the letter. It leaves open:
image size and steps (512 and 500 are ours; it shows 100, 200 and 500), the pooling of its baseline
(maximum, as VGG-19 was trained), the kind of noise (uniform in [0, 1]), the line search.

Deviations: a Gram matrix is divided by its own number of positions; pixels stay in range.
"""

IMPROVED_ARTISTIC = Recipe(
    terms={
        "content": Content(weight=10 / 4, normalization="mean"),
        "style": Gram(weight=40.0, layer_weights=(0.2,) * 5, normalization="paper"),
    },
    solver=Adam(learning_rate=2 / 255, box=PIXEL_RANGE),
    start=Start(noise=0.6, deviation=20 / 255),
    stages=(Stage(size=400, steps=200),),
    pooling="max",
    made_for=OXFORD,
)
"""The course report "Improved Artistic Images": 10 · Σ(a_C − a_G)²/(4HWC) at conv4_2 (hence 10/4 on the
mean), 40 · Σ(G_S − G_G)²/(4C²(HW)²) with .2 for each of five layers, Adam at 2.0 in 0 … 255, 200 steps on
400 × 300 pixels, from the photo under noise.

It contradicts itself: the text says normalised VGG with maximum pooling, the program loads Oxford's own file;
here the file's scale and the text's pooling. It prints after the update, so its "iteration 0" is one step. It
leaves open: the weights 10 and 40, which its log implies, the shares of the layers, and its noise (a share of
0.6, ±20 in 0 … 255, are those of the program that it starts from).

Deviations: the noise surrounds mid-grey, not ImageNet's mean colour; pixels stay in range at every step
(there they are clipped when the picture is written).
"""

GATYS_SCIPY = Recipe(
    terms={
        "content": Content(weight=1.0, normalization="paper"),
        "style": Gram(weight=1e3, layer_weights=(0.2,) * 5, normalization="paper"),
    },
    solver=ScipyLbfgsb(lower=0.0, upper=1.0),
    start=Start(noise=1.0),
    stages=(Stage(size=512, steps=500),),
    pooling="average",
    made_for=OXFORD,
)
"""Gatys' system as the course paper on semantic transfer runs it: white noise and SciPy's L-BFGS-B, ½Σ(F −
P)², E_l, α/β = 1e-3.

It observes that conv1_1 dominates the style loss, and asks for more weight on conv3_1 and conv5_1
(experiments/layer_weights.py). It leaves open: size, steps (a step is an iteration of SciPy's here, of one
evaluation or more), the box, pooling (average, as Gatys), the history (SciPy's 10).

Deviations: those of `GATYS_2015`.
"""
