"""Weights of style layers by gradient: a short run is unrolled, and what an independent network says of its
result is descended in the logarithms of the weights; beside it a random search for the same time."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.backbones.vgg import STYLE_LAYERS
from jaxstyle.errors import JaxstyleError
from jaxstyle.losses import Gram
from jaxstyle.metrics.distances import CONTENT_LAYERS, distances
from jaxstyle.pytrees import replace
from jaxstyle.references import References
from jaxstyle.transfer.inputs import sized
from jaxstyle.transfer.objective import objective, targets
from jaxstyle.transfer.program import network_for
from jaxstyle.transfer.recipe import Recipe

SPREAD, LEAST = 0.8, 1e-12
OUTER_RATE, INNER_RATE = 0.3, 0.02


class Learned(NamedTuple):
    """What was found.

    Attributes:
      factors: `[layers]`, of the style term's layer weights; target: its value there, and of each round or
        candidate `[n]` in `course`.
    """

    factors: np.ndarray
    target: float
    course: np.ndarray


def style_term(recipe: Recipe) -> tuple[str, Gram]:
    """The recipe's Gram term, and its name.

    Raises:
      JaxstyleError: it has none, or several.
    """
    found = [(name, term) for name, term in recipe.terms.items() if isinstance(term, Gram)]
    if len(found) != 1:
        raise JaxstyleError(f"weights are learned of a recipe with one Gram term; this one has {len(found)}")
    return found[0]


def with_factors(recipe: Recipe, factors: Any) -> Recipe:
    """The recipe with the layer weights of its Gram term times `factors` `[layers]`, numbers or traced."""
    name, term = style_term(recipe)
    made = tuple(weight * factors[i] for i, weight in enumerate(term.layer_weights))
    return dataclasses.replace(recipe, terms={**recipe.terms,
                                              name: dataclasses.replace(term, layer_weights=made)})


@partial(jax.jit, static_argnames="steps")
def unrolled_target(logs: Array, networks: tuple[Weights, Weights], references: References, recipe: Recipe,
                    steps: int, rate: Array) -> Array:
    """Content plus style distance, in the second network, of the picture that a short run in the first makes.

    The run goes from the photo `steps` times down the gradient, each time by `rate` (root mean square change
    of a pixel); each step is computed again on the way back, so memory does not grow with their number.

    Args:
      logs: `[layers]`, logarithms of the factors of the layer weights.
    """
    weights, judge = networks
    terms = with_factors(recipe, jnp.exp(logs)).terms
    goals = targets(weights, references, terms)

    @jax.checkpoint
    def step(x: Array, _: None) -> tuple[Array, None]:
        grad = jax.grad(lambda image: objective(weights, terms, goals, image)[0])(x)
        length = jnp.sqrt(jnp.mean(jnp.square(grad)) + LEAST)
        return x - rate * grad / length, None

    image, _ = lax.scan(step, jnp.asarray(references.content), None, length=steps)
    found = distances(judge, references, image, CONTENT_LAYERS, STYLE_LAYERS)
    total: Array = found["content"] + found["style"]
    return total


def learned_weights(networks: tuple[Weights, Weights], references: References, recipe: Recipe, *,
                    rounds: int = 12, steps: int = 12) -> Learned:
    """Descends `unrolled_target` by Adam for `rounds` gradients, from the recipe's own weights.

    Raises:
      JaxstyleError: see `style_term`.
    """
    import optax

    given, pair = _prepared(networks, references, recipe)
    ask = jax.jit(jax.value_and_grad(unrolled_target), static_argnames="steps")
    logs = jnp.zeros(len(style_term(recipe)[1].layer_weights))
    adam = optax.adam(OUTER_RATE)
    state, tried = adam.init(logs), []
    for _ in range(rounds):
        value, grad = ask(logs, pair, given, recipe, steps=steps, rate=jnp.asarray(INNER_RATE))
        tried.append((float(value), np.exp(np.asarray(logs))))
        updates, state = adam.update(jnp.nan_to_num(grad), state)
        logs = logs + updates
    return _best(tried)


def searched_weights(networks: tuple[Weights, Weights], references: References, recipe: Recipe, *,
                     count: int = 36, steps: int = 12, seed: int = 0) -> Learned:
    """The best of `count` candidates, the first the recipe's own, the others log-normal around it.

    A gradient costs about as much as three candidates.

    Raises:
      JaxstyleError: see `style_term`.
    """
    given, pair = _prepared(networks, references, recipe)
    layers = len(style_term(recipe)[1].layer_weights)
    logs = np.random.default_rng(seed).normal(0, SPREAD, (count, layers)) * (np.arange(count) > 0)[:, None]
    return _best([(float(unrolled_target(jnp.asarray(each, jnp.float32), pair, given, recipe, steps=steps,
                                         rate=jnp.asarray(INNER_RATE))), np.exp(each)) for each in logs])


def _prepared(networks: tuple[Weights, Weights], references: References, recipe: Recipe
              ) -> tuple[References, tuple[Weights, Weights]]:
    given = sized(references, recipe.stages[-1], recipe.style_scale)
    weights, judge = networks
    return given, (network_for(weights, recipe), replace(judge, {"name": "", "sha256": ""}))


def _best(tried: list[tuple[float, np.ndarray]]) -> Learned:
    """The candidate of the least finite target; the first if there is none."""
    course = np.array([value for value, _ in tried])
    best = int(np.nanargmin(np.where(np.isfinite(course), course, np.inf)))
    return Learned(tried[best][1], float(course[best]), course)
