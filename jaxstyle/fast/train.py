"""One step of training as a pure function, and the state that it moves."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from jaxstyle import ops
from jaxstyle.fast.network import BATCH_AXIS, StyleNetwork
from jaxstyle.fast.objective import objective
from jaxstyle.fast.recipe import Training
from jaxstyle.pytrees import pytree
from jaxstyle.weights import Weights

SMALLEST_RATE = 0.01


@pytree
class State:
    """What a step changes.

    Attributes:
      step: steps done; params: raw parameters by layer; average: their running average.
      optimizer: Adam's moments; statistics: of batch norm, else empty.
      scale: factor of the learning rate, halved after a loss that was not finite.
    """

    step: Array
    params: dict[str, Any]
    average: dict[str, Any]
    optimizer: Any
    statistics: dict[str, Any]
    scale: Array


def optimizer(recipe: Training) -> optax.GradientTransformation:
    """Clipping and Adam, without the learning rate."""
    return optax.chain(optax.clip_by_global_norm(recipe.clip),
                       optax.scale_by_adam(b1=recipe.b1, b2=recipe.b2))


def start(recipe: Training, network: StyleNetwork) -> State:
    """Random parameters and nothing learnt."""
    variables = network.init(jax.random.key(recipe.seed), jnp.zeros((16, 16, 3)))
    params = variables["params"]
    return State(step=jnp.zeros((), jnp.int32), params=params, average=jax.tree.map(jnp.copy, params),
                 optimizer=optimizer(recipe).init(params), statistics=variables.get("statistics", {}),
                 scale=jnp.ones(()))


def rate(recipe: Training, step: Array) -> Array:
    """The learning rate at a step."""
    end = SMALLEST_RATE if recipe.schedule == "cosine" else 1.0
    schedule = optax.warmup_cosine_decay_schedule(
        0.0 if recipe.warmup else 1.0, 1.0, recipe.warmup, max(recipe.steps, recipe.warmup + 1), end)
    return recipe.learning_rate * schedule(step + 1)


def styles_at(recipe: Training, step: Array, count: int) -> Array:
    """Which painting each photo of a step is for, `[batch]`: every `count` photos bring each one once."""
    index = step * recipe.batch + jnp.arange(recipe.batch)
    key = jax.random.key(recipe.seed)

    def one(i: Array) -> Array:
        return jax.random.permutation(jax.random.fold_in(key, i // count), count)[i % count]

    return jax.vmap(one)(index)


def photo_loss(
    recipe: Training, network: StyleNetwork, weights: Weights, params: Any, statistics: Any,
    photo: Array, style: Array, target: Any, key: Array, train: bool = True,
) -> tuple[Array, tuple[dict[str, Array], Any]]:
    """Loss of one photo `[H, W, 3]` in one style (a number), its parts, and new statistics."""
    shares = jax.nn.one_hot(style, network.styles, dtype=photo.dtype)

    def run(image: Array) -> tuple[Array, Any]:
        variables = {"params": params, "statistics": statistics}
        if train and statistics:
            y, changed = network.apply(variables, image, shares, train=True, mutable=["statistics"])
            return y, changed["statistics"]
        return network.apply(variables, image, shares), statistics

    image, changed = run(photo)
    factor = jnp.asarray(recipe.style_weights)[style] if recipe.style_weights else 1.0
    total, parts = objective(weights, recipe.terms, target, photo, image, factor)
    if recipe.noise and train:
        noisy, _ = run(photo + recipe.noise * jax.random.normal(key, photo.shape, photo.dtype))
        parts["stability"] = recipe.stability * jnp.mean(jnp.square(noisy - image))
        total = total + parts["stability"]
    return total, (parts, changed)


def batch_loss(
    recipe: Training, network: StyleNetwork, weights: Weights, targets: Any, params: Any, statistics: Any,
    photos: Array, styles: Array, step: Array, train: bool = True,
) -> tuple[Array, tuple[dict[str, Array], Any]]:
    """Mean loss over photos `[n, H, W, 3]` in styles `[n]`, its parts, and new statistics.

    Args:
      targets: of every painting, stacked: see `objective.style_targets`.
    """
    prepared = ops.prepare(params, recipe.precision)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(recipe.seed), step), photos.shape[0])

    def one(photo: Array, style: Array, key: Array) -> Any:
        target = jax.tree.map(lambda leaf: leaf[style], targets)
        return photo_loss(recipe, network, weights, prepared, statistics, photo, style, target, key, train)

    # One core computes photos in turn as fast as together, in less memory; batch norm looks at all at once.
    alone = jax.default_backend() == "cpu" and jax.device_count() == 1 and not statistics
    over = (lambda *each: lax.map(lambda x: one(*x), each)) if alone else jax.vmap(one, axis_name=BATCH_AXIS)
    losses, (parts, changed) = over(photos, styles, keys)
    # Batch norm pools over the mapped axis, so that every photo brings the same statistics.
    changed = jax.tree.map(lambda leaf: leaf[0], changed) if statistics else {}
    return jnp.mean(losses), (jax.tree.map(jnp.mean, parts), changed)


def update(recipe: Training, network: StyleNetwork, weights: Weights, targets: Any, state: State,
           photos: Array) -> tuple[State, dict[str, Array]]:
    """One step: the next state, and the weighted losses (with "total" and "gradient", its norm)."""
    count = network.styles
    styles = styles_at(recipe, state.step, count)
    loss = partial(batch_loss, recipe, network, weights, targets)
    (total, (parts, statistics)), gradient = jax.value_and_grad(loss, has_aux=True)(
        state.params, state.statistics, photos, styles, state.step)
    moves, moments = optimizer(recipe).update(gradient, state.optimizer, state.params)
    pace = -rate(recipe, state.step) * state.scale
    params = jax.tree.map(lambda p, move: p + pace * move, state.params, moves)
    # Early averages forget the random start: (1 + t) / (10 + t) as in TensorFlow's moving average.
    decay = jnp.minimum(recipe.average, (1 + state.step) / (10 + state.step))
    average = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, state.average, params)
    following = State(step=state.step + 1, params=params, average=average, optimizer=moments,
                      statistics=lax.stop_gradient(statistics), scale=state.scale)
    return following, {"total": total, **parts, "gradient": optax.global_norm(gradient)}
