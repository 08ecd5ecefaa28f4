"""What a stage of a run computes: one `Program`, whether it is run, mapped over lanes, or only compiled.

Its functions know the images at the size of the stage alone, never the files' own sizes, so photos of any
size share compiled programs. Names and hashes of networks are no part of them either.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.ops.resize import resize_to
from jaxstyle.references import References
from jaxstyle.solvers import Search, begin_search, search_step
from jaxstyle.solvers.iterate import Remembering
from jaxstyle.transfer.controls import prepared
from jaxstyle.transfer.inputs import first_image, frame
from jaxstyle.transfer.layout import ALONE, Layout
from jaxstyle.transfer.objective import first_memory, layers_of, objective, targets
from jaxstyle.transfer.recipe import Recipe

State = tuple[Search, Array]
"""All that a stage needs to go on: the search, and the image that the stage began with."""
Advanced = tuple[Search, dict[str, Array]]
"""A search some steps on, and the losses after each, by name."""
CHUNK_STEPS = 64
PREPARE_FROM = 2e13
"""Steps × pixels × numbers in the kernels from which prepared filters are worth the four seconds that their
program takes longer to compile."""


def network_for(weights: Weights, recipe: Recipe) -> Weights:
    """The weights with the pooling and border of a recipe, without name and hash, which would be traced.

    Raises:
      JaxstyleError: the network lacks a layer that some term looks at.
    """
    weights.must_have(layers_of(recipe.terms))
    network = weights.with_network(pooling=recipe.pooling, border=recipe.border)
    return dataclasses.replace(network, name="", sha256="")


@dataclass(frozen=True)
class Program:
    """One stage of a run, from its inputs or from their shapes alone.

    Attributes:
      weights: of `network_for`; references: at the size of the stage (see `transfer.inputs.sized`).
      stage: index; layout: where all this lives. In lanes, references (unless shared) and recipe have a
        leading axis.
    """

    weights: Weights
    references: References
    recipe: Recipe
    stage: int
    layout: Layout = ALONE

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the image `[H, W, 3]`."""
        height, width = frame(self.references).shape[-3:-1]
        return height, width, 3

    @property
    def active(self) -> Recipe:
        """The recipe with the terms that this stage goes without at rest."""
        return self.recipe.at(self.stage)

    @property
    def solved(self) -> Recipe:
        """The same without what is done before and after, so that the solver's programs do not know of it."""
        return dataclasses.replace(self.active, colors=None, smoothing=None, photo_gradients=None)

    def first(self, previous: Any = None) -> Array:
        """The image that the stage begins with; `previous` are the coefficients that the stage before ended
        with."""
        image: Array = _first(self.references, self.recipe, previous, self.layout)
        return image

    def targets(self, first: Array) -> dict[str, Any]:
        """What the terms compare with."""
        found: dict[str, Any] = _targets(self.weights, self.references, self.active, first, self.layout)
        return found

    def begin(self, targets: dict[str, Any], first: Array) -> Search:
        """The search at its first point."""
        search: Search = _begin(self.weights, self.solved, targets, first, self.layout)
        return search

    def ready(self) -> Weights:
        """Weights with prepared filters where the stage is long enough to earn back their compilation."""
        return self.layout.put(self._prepared(self.weights), common=True)

    def advance(self, ready: Weights, targets: dict[str, Any], search: Search, steps: Any
                ) -> Advanced:
        """`steps` solver steps (at most `CHUNK_STEPS`) and the losses after each, name -> `[CHUNK_STEPS]`.

        The memory of `search` is reused.
        """
        advanced: Advanced = _advance(ready, self.solved, targets, search, steps, self.layout)
        return advanced

    def state_shapes(self) -> State:
        """All that is needed to go on, as shapes in their places."""
        _, _, search, first = self._shapes()
        return search, first

    def compiled(self) -> Iterator[Any]:
        """The compiled programs, from shapes: `advance`, which needs most, then `begin` and `targets`.

        A run that follows finds them ready.
        """
        references, found, search, first = self._shapes()
        weights = self.layout.shapes(self.weights, common=True)
        ready = self.layout.shapes(jax.eval_shape(self._prepared, self.weights), common=True)
        yield _advance.lower(ready, self.solved, found, search, 1, self.layout).compile()
        yield _begin.lower(weights, self.solved, found, first, self.layout).compile()
        yield _targets.lower(weights, references, self.active, first, self.layout).compile()

    def memory(self, budget: float = math.inf) -> int:
        """Bytes that the programs hold on each device while they run; the first that needs more than `budget`
        ends the count. Compiles them, and computes nothing."""
        needed = 0
        for program in self.compiled():
            needed = max(needed, memory_needed(program))
            if needed > budget:
                break
        return needed

    def _prepared(self, weights: Weights) -> Weights:
        height, width, _ = self.shape
        layers = layers_of(self.active.terms)
        numbers = sum(layer["kernel"].size for layer in weights.params_up_to(layers).values())
        work = self.recipe.stages[self.stage].steps * height * width * numbers
        if self.recipe.precision == "float32" and work < PREPARE_FROM:
            return weights
        return weights.prepared(self.recipe.precision, layers)

    def _shapes(self) -> tuple[References, dict[str, Any], Search, Any]:
        """References, targets, search and first image as shapes in their places."""
        layout, recipe = self.layout, self.active
        references = layout.shapes(self.references, common=layout.shared)
        weights = layout.shapes(self.weights, common=True)
        first = jax.eval_shape(partial(_first, layout=layout), references, recipe, None)
        first = layout.shapes(first, self.shape)
        found = jax.eval_shape(partial(_targets, layout=layout), weights, references, recipe, first)
        found = layout.shapes(found)
        search = jax.eval_shape(partial(_begin, layout=layout), weights, recipe, found, first)
        return references, found, layout.shapes(search, self.shape), first


def memory_needed(compiled: Any) -> int:
    """Bytes that a compiled program holds while it runs: arguments, results and temporaries."""
    stats = compiled.memory_analysis()
    if stats is None:
        return 0
    needed: int = (stats.argument_size_in_bytes + stats.output_size_in_bytes + stats.temp_size_in_bytes
            - stats.alias_size_in_bytes)
    return needed


def forget_programs() -> None:
    """Free what was compiled: each program takes hundreds of memory maps, and where the 65,530 that Linux
    gives a process are used up, it crashes."""
    for function in (_first, _targets, _begin, _advance):
        function.clear_cache()  # type: ignore[attr-defined]


@partial(jax.jit, static_argnames="layout")
def _first(references: References, recipe: Recipe, previous: Any, layout: Layout) -> Array:
    def one(references: References, recipe: Recipe, previous: Any) -> Array:
        references = prepared(references, recipe)
        if previous is None:
            return first_image(references, recipe.start, recipe.seed)
        height, width = frame(references).shape[:2]
        before = recipe.canvas.decode(previous)
        if recipe.start.carry == "result" or references.content is None:
            return resize_to(before, height, width, clip=False)
        added = before - resize_to(references.content, before.shape[0], before.shape[1])
        carried: Array = references.content + resize_to(added, height, width, clip=False)
        return carried

    image: Array = layout.over_lanes(one, (not layout.shared, True, True))(references, recipe, previous)
    return image


@partial(jax.jit, static_argnames="layout")
def _targets(weights: Weights, references: References, recipe: Recipe, first: Array, layout: Layout
             ) -> dict[str, Any]:
    def one(weights: Weights, references: References, recipe: Recipe, first: Array) -> dict[str, Any]:
        images = layout.split(dataclasses.replace(prepared(references, recipe), first=first))
        given = dataclasses.replace(images, seed=recipe.seed)
        return layout.keep(targets(weights, given, recipe.terms, recipe.rows), None)

    mapped = (False, not layout.shared, True, True)
    compared: dict[str, Any] = layout.over_lanes(one, mapped)(weights, references, recipe, first)
    return compared


@partial(jax.jit, static_argnames="layout")
def _begin(weights: Weights, recipe: Recipe, found: dict[str, Any], first: Array, layout: Layout) -> Search:
    def one(weights: Weights, recipe: Recipe, found: dict[str, Any], first: Array) -> Search:
        # A copy: what a program returns as it got it shares its memory, which `advance` reuses.
        x = recipe.canvas.encode(jnp.copy(layout.keep(first, first.shape)))
        memory = first_memory(recipe.terms, found)
        search = begin_search(recipe.solver, minimised(weights, recipe, found), x, memory)
        return layout.keep(search, first.shape)

    begun: Search = layout.over_lanes(one, (False, True, True, True))(weights, recipe, found, first)
    return begun


@partial(jax.jit, static_argnames="layout", donate_argnames="search")
def _advance(weights: Weights, recipe: Recipe, found: dict[str, Any], search: Search, steps: Any,
             layout: Layout) -> Advanced:
    def one(weights: Weights, recipe: Recipe, found: dict[str, Any], search: Search, steps: Any) -> Any:
        return advance(minimised(weights, recipe, found), recipe, search, steps, CHUNK_STEPS, layout)

    mapped = (False, True, True, True, False)
    advanced: Advanced = layout.over_lanes(one, mapped)(weights, recipe, found, search, steps)
    return advanced


def advance(fun: Remembering, recipe: Recipe, search: Search, steps: Any, capacity: int,
            layout: Layout = ALONE) -> Advanced:
    """`steps` (at most `capacity`) solver steps of `minimised`, and the losses after each, name ->
    `[capacity]`."""
    shape = jax.eval_shape(recipe.canvas.decode, search.best.x).shape

    def body(i: Array, carry: tuple[Search, dict[str, Array]]) -> Advanced:
        search, losses = carry
        search = layout.keep(search_step(recipe.solver, fun, search), shape)
        values = {"total": search.iterate.value, **search.iterate.parts}
        return search, {name: losses[name].at[i].set(value) for name, value in values.items()}

    names = ("total", *recipe.terms)
    losses = {name: jnp.zeros(capacity, search.iterate.value.dtype) for name in names}
    advanced: Advanced = lax.fori_loop(0, steps, body, (search, losses))
    return advanced


def minimised(weights: Weights, recipe: Recipe, found: dict[str, Any]) -> Remembering:
    """What the solver minimises: coefficients and memory -> loss, its parts, and memory."""
    def fun(x: Any, memory: Any) -> tuple[Array, tuple[dict[str, Array], Any]]:
        return objective(weights, recipe.terms, found, recipe.canvas.decode(x), memory, rows=recipe.rows)

    return fun
