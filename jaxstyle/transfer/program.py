"""The compiled functions of a run: what its stages aim at, where each begins, how it advances."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.ops.resize import resize_to
from jaxstyle.ops.sharding import keep_rows, split_images
from jaxstyle.references import References
from jaxstyle.solvers import Search, begin_search, search_step
from jaxstyle.transfer.inputs import canvas, first_image, fit
from jaxstyle.transfer.objective import layers_of, objective, targets
from jaxstyle.transfer.recipe import Recipe

CHUNK_STEPS = 64
PREPARE_FROM = 2e13
"""Steps × pixels × numbers in the kernels from which prepared filters are worth the four seconds that their
program takes longer to compile."""
Devices = tuple[jax.Device, ...]
"""Those that share one image, by rows; none: it is whole on one."""


def network_for(weights: Weights, recipe: Recipe) -> Weights:
    """The weights with the pooling and border of a recipe."""
    return weights.with_network(pooling=recipe.pooling, border=recipe.border)


def prepared_for(weights: Weights, recipe: Recipe, stage: int, search: Search) -> Weights:
    """Weights with prepared filters where a stage is long enough to earn back their compilation."""
    height, width, _ = search.best.x.shape
    layers = layers_of(recipe.terms)
    numbers = sum(layer["kernel"].size for layer in weights.params_up_to(layers).values())
    if recipe.precision == "float32" and recipe.stages[stage].steps * height * width * numbers < PREPARE_FROM:
        return weights
    return weights.prepared(recipe.precision, layers)


@partial(jax.jit, static_argnames=("stage", "devices"))
def aim(weights: Weights, references: References, recipe: Recipe, stage: int, devices: Devices = ()
        ) -> dict[str, Any]:
    """Targets of a stage, whole on each of the devices, which share the work."""
    fitted = fit(references, recipe.stages[stage], recipe.style_scale)
    aims = targets(weights, split_images(fitted, devices), recipe.terms, recipe.rows)
    return keep_rows(aims, None, devices)


@partial(jax.jit, static_argnames=("stage", "devices"))
def begin(
    weights: Weights, references: References, recipe: Recipe, aims: dict[str, Any], stage: int,
    previous: Array | None, devices: Devices = (),
) -> Search:
    """First evaluated point of a stage; `previous` is the result of the stage before."""
    fitted = fit(references, recipe.stages[stage], recipe.style_scale)
    if previous is None:
        x = first_image(fitted, recipe.start, recipe.seed)
    else:
        height, width = canvas(fitted).shape[:2]
        x = resize_to(previous, height, width, clip=False)
    fun = partial(objective, weights, recipe.terms, aims, rows=recipe.rows)
    return keep_rows(begin_search(recipe.solver, fun, keep_rows(x, x.shape, devices)), x.shape, devices)


@partial(jax.jit, static_argnames=("capacity", "devices"), donate_argnames="search")
def advance(
    weights: Weights, recipe: Recipe, aims: dict[str, Any], search: Search, steps: Any, capacity: int,
    devices: Devices = (),
) -> tuple[Search, dict[str, Array]]:
    """`steps` (at most `capacity`) solver steps, and the losses after each, name -> `[capacity]`."""
    fun = partial(objective, weights, recipe.terms, aims, rows=recipe.rows)

    def body(i: Array, carry: tuple[Search, dict[str, Array]]) -> tuple[Search, dict[str, Array]]:
        search, losses = carry
        search = keep_rows(search_step(recipe.solver, fun, search), search.best.x.shape, devices)
        values = {"total": search.iterate.value, **search.iterate.parts}
        return search, {name: losses[name].at[i].set(value) for name, value in values.items()}

    names = ("total", *recipe.terms)
    losses = {name: jnp.zeros(capacity, search.iterate.value.dtype) for name in names}
    return lax.fori_loop(0, steps, body, (search, losses))
