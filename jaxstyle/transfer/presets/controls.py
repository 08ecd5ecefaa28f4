"""Recipes that keep a photo a photo, or dream; and sizes for print."""

from __future__ import annotations

import dataclasses

from jaxstyle.losses import Content, Dream, Gram, Matting, Range, TotalVariation
from jaxstyle.solvers import Adam, ArmijoLbfgs
from jaxstyle.transfer.controls import LocalAffine
from jaxstyle.transfer.recipe import Recipe, Stage, Start

PHOTO = Recipe(
    terms={
        "content": Content(weight=1.0, normalization="relative"),
        "style": Gram(weight=30.0, normalization="relative"),
        "matting": Matting(weight=1e3, normalization="mean"),
        "range": Range(weight=10.0),
    },
    solver=ArmijoLbfgs(),
    start=Start(noise=0.0),
    stages=(Stage(size=512, steps=100, without=("matting",)), Stage(size=512, steps=150)),
    pooling="average",
    smoothing=LocalAffine(),
    photo_gradients=0.8,
)
"""Ours, after Luan, Paris, Shechtman & Bala 2017: a pass for the style alone, a second one that keeps every
small piece an affine function of the photo's colours, and a last smoothing along the photo. As the smoothing
blurs what is finer than its windows, the photo's fine gradients are put back (Mechrez et al. 2017).

With semantic maps of photo and painting the Gram matrices are those of each class, as in the paper.
Deviations: losses are relative to their targets and the matting energy is a mean over the image, so that λ
does not depend on size or network (the paper's sums: Gram 100, matting 1e4); the start is the photo.
"""

DREAM = Recipe(
    terms={
        "dream": Dream(weight=1.0, layers=("relu4_2",), jitter=16),
        "tv": TotalVariation(weight=1.0),
        "range": Range(weight=10.0),
    },
    solver=Adam(learning_rate=0.01, box=(0.0, 1.0)),
    start=Start(noise=0.0, carry="detail"),
    stages=tuple(Stage(size=size, steps=40) for size in (261, 366, 512)),
    pooling="average",
)
"""Deep dream after Mordvintsev, Olah & Tyka 2015: octaves of ratio 1.4, each beginning with the photo plus
what the octave before has added, and random shifts of the image before every step.

Deviations: Adam instead of gradient ascent with normalised gradients, three octaves of 40 steps; an objective
that is bounded (see `losses.dream.excitement`); a little total variation.
"""

DREAM_STYLE = dataclasses.replace(
    DREAM,
    terms={**DREAM.terms, "content": Content(weight=1.0, normalization="relative"),
           "style": Gram(weight=30.0, normalization="relative")},
)
"""What the course report names as future work: a layer excited while the painting's Gram matrices are met."""
