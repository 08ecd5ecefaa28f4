"""Named recipes: what the literature and well-known programs do, as constants.

Deviations common to all: images are RGB in [0, 1] here whatever the network takes, so learning rates and
total-variation weights of programs that work in 0..255 are converted; style images keep their own aspect ratio.
"""

from __future__ import annotations

from jaxstyle.errors import JaxstyleError
from jaxstyle.losses import Content, Gram, Range, TotalVariation
from jaxstyle.pytrees import replace
from jaxstyle.solvers import Adam, Lbfgs
from jaxstyle.stylize import Recipe, Stage, Start

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")

GATYS_2015 = Recipe(
    terms={
        "content": Content(weight=1.0, normalization="paper"),
        "style": Gram(weight=1e3, normalization="paper"),
    },
    solver=Lbfgs(history=10),
    start=Start(noise=1.0, distribution="uniform"),
    stages=(Stage(size=512, steps=500),),
    pooling="average",
)
"""Gatys, Ecker & Bethge 2015/2016: noise start, average pooling, α/β = 1e-3, relu4_2 and relu1_1 … relu5_1
with weights 1/5, L-BFGS.

Deviations: Gram matrices are per position, so E_l does not depend on the size of the image (with images of
one size the two agree up to the factor that `weight` absorbs); the content term is ½ Σ as in equation 1.
"""


def with_size(recipe: Recipe, size: int) -> Recipe:
    """The recipe at another size: the last stage's longer side becomes `size`, earlier ones in proportion."""
    last = recipe.stages[-1].size
    stages = tuple(
        Stage(size=size if stage.size is None or last is None else max(1, round(stage.size * size / last)),
              steps=stage.steps)
        for stage in recipe.stages
    )
    return replace(recipe, {"stages": stages})


def with_steps(recipe: Recipe, steps: int) -> Recipe:
    """The recipe with `steps` solver steps in all, shared among its stages as before (each at least 1)."""
    total = sum(stage.steps for stage in recipe.stages)
    stages = tuple(
        Stage(size=stage.size, by=stage.by, steps=max(1, round(stage.steps * steps / total)))
        for stage in recipe.stages
    )
    return replace(recipe, {"stages": stages})


def catalogue() -> dict[str, tuple[Recipe, str]]:
    """Every recipe by its name on the command line, with one line on what it is."""
    return {
        "gatys-2015": (GATYS_2015, "the paper: noise start, average pooling"),
    }


def named(name: str) -> Recipe:
    """A recipe by name.

    Raises:
      JaxstyleError: there is none; the message lists the names.
    """
    known = catalogue()
    if name not in known:
        raise JaxstyleError(f"no recipe called '{name}'; there are {', '.join(known)}")
    return known[name][0]
