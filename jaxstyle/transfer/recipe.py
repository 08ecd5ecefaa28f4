"""What a run is made of: a recipe of terms, solver, start and stages, all of it a frozen pytree."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxstyle.errors import JaxstyleError, one_of
from jaxstyle.losses.look import Features, Look
from jaxstyle.pytrees import pytree, static
from jaxstyle.references import References
from jaxstyle.solvers import Lbfgs, Solver
from jaxstyle.transfer.canvas import Pixels
from jaxstyle.transfer.objective import Terms

PIXEL_RANGE = (0.0, 1.0)
MAX_HISTORY = 1000
MAX_SIZE, MAX_STEPS = 65_535, 1_000_000  # pixels a side that the formats of pictures hold


@pytree
class Stage:
    """One size of a multi-scale run.

    Attributes:
      size: pixels of the side that `by` names; None takes the images as they are.
      steps: solver steps; by: "longer", "shorter" or "area" (size² pixels in all).
      without: names of terms that do not count in this stage.
    """

    size: int | None = static(default=512)
    steps: int = static(default=500)
    by: str = static(default="longer")
    without: tuple[str, ...] = static(default=())

    def __post_init__(self) -> None:
        one_of("stage by", self.by, ("longer", "shorter", "area"))
        if self.size is not None and not 1 <= self.size <= MAX_SIZE:
            raise JaxstyleError(f"size takes at least 1 and at most {MAX_SIZE} pixels, not {self.size}")
        if not 1 <= self.steps <= MAX_STEPS:
            raise JaxstyleError(f"steps takes at least 1 and at most {MAX_STEPS}, not {self.steps}")


@pytree
class Start:
    """The first image: `(1 − noise) · base + noise · noise image`.

    Attributes:
      noise: share of the noise image, 0 to 1; deviation: its spread around grey (the standard deviation
        of normal noise; half the width of uniform noise).
      base: "content", "style" (the first one, resized to fit) or "image" (`References.start`).
      distribution: "uniform" or "normal".
      carry: what a later stage begins with: "result", that of the stage before; "detail", the content plus
        what the stage before has added to it.
    """

    noise: Any = 1.0
    deviation: Any = 0.5
    base: str = static(default="content")
    distribution: str = static(default="uniform")
    carry: str = static(default="result")

    def __post_init__(self) -> None:
        one_of("start carry", self.carry, ("result", "detail"))
        one_of("start base", self.base, ("content", "style", "image"))
        one_of("start distribution", self.distribution, ("uniform", "normal"))


@pytree
class Resting:
    """A term that does not count: it is there so that losses have the same names in every stage."""

    weight: float = static(default=0.0)
    layers: tuple[str, ...] = static(default=())

    def target(self, references: References, look: Look) -> tuple[()]:
        """Nothing to prepare."""
        return ()

    def loss(self, image: Array, features: Features, target: Any) -> Array:
        """Zero."""
        return jnp.zeros((), image.dtype)


@pytree
class Recipe:
    """Everything that makes a result from references and weights.

    Attributes:
      terms: name -> term; solver: one of `jaxstyle.solvers`, jaxopt's L-BFGS if not given; start: the first
        image.
      canvas: what the solver moves, one of `jaxstyle.transfer.canvas`: the pixels if not given.
      seed: of all random numbers.
      stages: sizes in turn, each starting from the last one's result.
      pooling, border: those of the network instead of what its file says, where not None.
      precision: of products, "float32", "tensorfloat32" (NVIDIA GPUs; float32 elsewhere) or "bfloat16"; sums
        stay in float32.
      style_scale: size of the style images relative to the result's.
      colors: whose colours the result has: None for the painting's, or a `KeepColors` or `MatchColors` of
        `transfer.controls`.
      smoothing: a `LocalAffine` of `transfer.controls` to make edges the photo's alone, or None.
      photo_gradients: how much of the photo's drawing is put back at the end, 0 … 1 (`ops.poisson`), or None.
      rows: of the image, computed at a time (see `backbones.bands`; VGG only); None: all. Fewer take less
        memory and more time, and give the same result up to rounding.
      made_for: the network at whose scale of features the weights are meant (see
        `transfer.presets.translation`); None: any, or the very one that is used.
    """

    terms: Terms
    solver: Solver = Lbfgs()
    canvas: Any = Pixels()
    start: Start = Start()
    seed: Any = 0
    stages: tuple[Stage, ...] = (Stage(),)
    pooling: str | None = static(default=None)
    border: str | None = static(default=None)
    precision: str = static(default="float32")
    style_scale: float = static(default=1.0)
    rows: int | None = static(default=None)
    made_for: str | None = static(default=None)
    colors: Any = None
    smoothing: Any = None
    photo_gradients: Any = None

    def __post_init__(self) -> None:
        one_of("precision", self.precision, ("float32", "tensorfloat32", "bfloat16"))
        if not self.stages or not self.terms:
            raise JaxstyleError("a recipe needs at least one stage and one term")
        if not 0 < self.style_scale <= 16:
            raise JaxstyleError(f"style_scale takes a number above 0, up to 16, not {self.style_scale}")
        if not 1 <= getattr(self.solver, "history", 1) <= MAX_HISTORY:
            raise JaxstyleError(f"solver.history takes a number from 1 to {MAX_HISTORY}")
        if self.rows is not None and (not isinstance(self.rows, int) or self.rows < 1):
            raise JaxstyleError(f"rows takes a whole number of at least 1, or none, not {self.rows}")

        self._check_without()

    def _check_without(self) -> None:
        for stage in self.stages if isinstance(self.terms, dict) else ():
            for name in getattr(stage, "without", ()):
                one_of("a stage goes without", name, tuple(self.terms))

    def at(self, stage: int) -> Recipe:
        """The recipe as a stage runs it: terms that the stage goes without rest."""
        without = self.stages[stage].without
        if not without:
            return self
        terms = {name: Resting() if name in without else term for name, term in self.terms.items()}
        return dataclasses.replace(self, terms=terms)

    @property
    def total_steps(self) -> int:
        """Solver steps of all stages."""
        return sum(stage.steps for stage in self.stages)
