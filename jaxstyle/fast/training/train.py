"""One step of training as a pure function, and the state that it moves."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from jaxstyle import ops
from jaxstyle.backbones.perceptual import Weights, attributes_of
from jaxstyle.errors import JaxstyleError
from jaxstyle.fast.model import Model
from jaxstyle.fast.network import BATCH_AXIS, StyleNetwork
from jaxstyle.fast.training.objective import photo_objective
from jaxstyle.fast.training.recipe import Training
from jaxstyle.ops.colors.palette import with_moments
from jaxstyle.pytrees import pytree, replace, static

SMALLEST_RATE = 0.01
PER_STYLE = ("scale", "offset")
Purpose = Literal["train", "copy", "measure"]
"""What a loss is for: learning to paint, learning to give the photo back (`copying_steps`), or knowing it."""


@pytree
class State:
    """What a step changes.

    Attributes:
      step: steps done; params: what is learnt, by layer; average: its running average.
      optimizer: Adam's moments; statistics: of batch norm, else empty.
      scale: factor of the learning rate, halved after a loss that was not finite.
    """

    step: Array
    params: dict[str, Any]
    average: dict[str, Any]
    optimizer: Any
    statistics: dict[str, Any]
    scale: Array


@pytree
class Task:
    """What stays the same during a training.

    Attributes:
      weights: the perceptual network; targets: of every painting, stacked (see `objective.style_targets`);
        colours: mean `[n, 3]` and covariance `[n, 3, 3]` of the paintings' colours.
      base: parameters of the model that the styles are added to, which stay as they are; else empty.
      network: with all styles, the base's first; count: the number of paintings.
    """

    weights: Weights
    targets: Any
    colours: tuple[Array, Array]
    base: dict[str, Any]
    network: StyleNetwork = static()
    count: int = static()


@pytree
class Example:
    """A photo `[H, W, 3]`, the number of the painting that it is for, and a PRNG key; in a batch, with an
    axis over them."""

    photo: Array
    painting: Array
    key: Array


def whole(base: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """All parameters of the network: those learnt, or those of a base with the new styles' rows below."""
    if not base:
        return params
    return {name: {key: jnp.concatenate([value, params[name][key]]) if key in PER_STYLE else value
                   for key, value in layer.items()} for name, layer in base.items()}


def optimizer(recipe: Training) -> optax.GradientTransformation:
    """Clipping and Adam, without the learning rate."""
    return optax.chain(optax.clip_by_global_norm(recipe.clip),
                       optax.scale_by_adam(b1=recipe.b1, b2=recipe.b2))


def first_state(recipe: Training, task: Task) -> State:
    """Random parameters (of styles added to a base: the mean of the base's) and nothing learnt."""
    variables = task.network.init(jax.random.key(recipe.seed), jnp.zeros((16, 16, 3)))
    params = variables["params"]
    if task.base:
        params = {name: {key: jnp.repeat(layer[key].mean(0, keepdims=True), task.count, 0)
                         for key in PER_STYLE} for name, layer in task.base.items() if "scale" in layer}
    return State(step=jnp.zeros((), jnp.int32), params=params, average=jax.tree.map(jnp.copy, params),
                 optimizer=optimizer(recipe).init(params), statistics=variables.get("statistics", {}),
                 scale=jnp.ones(()))


def check_start(task: Task, model: Model) -> None:
    """Raise unless a training can begin with the parameters of a model.

    Raises:
      JaxstyleError: it is another network, or has another number of styles.
    """
    own, its = attributes_of(task.network), attributes_of(model.network)
    if different := [f"{name} {its[name]}" for name in its if own[name] != its[name]]:
        raise JaxstyleError(f"model '{model.card.name}' is another network than the one that is trained, "
                            f"with {', '.join(different)}; give the same architecture and as many paintings")


def started_from(state: State, model: Model) -> State:
    """A first state with the parameters of a model instead of random ones."""
    params, average, statistics = (jax.tree.map(jnp.array, numbers)  # copies: steps use the state up
                                   for numbers in (model.params, model.params, model.statistics))
    return replace(state, {"params": params, "average": average, "statistics": statistics})


def rate(recipe: Training, step: Array) -> Array:
    """The learning rate at a step."""
    end = SMALLEST_RATE if recipe.schedule == "cosine" else 1.0
    schedule = optax.warmup_cosine_decay_schedule(
        0.0 if recipe.warmup else 1.0, 1.0, recipe.warmup, max(recipe.steps, recipe.warmup + 1), end)
    rate: Array = recipe.learning_rate * schedule(step + 1)
    return rate


def styles_at(recipe: Training, step: Array, count: int) -> Array:
    """Which painting each photo of a step is for, `[batch]`: every `count` photos bring each one once."""
    index = step * recipe.batch + jnp.arange(recipe.batch)
    key = jax.random.key(recipe.seed)

    def one(i: Array) -> Array:
        return jax.random.permutation(jax.random.fold_in(key, i // count), count)[i % count]

    return jax.vmap(one)(index)


def examples(recipe: Training, photos: Array, paintings: Array, step: Any) -> Example:
    """A batch of photos `[n, H, W, 3]` and paintings `[n]` with the random numbers of a step."""
    keys = jax.random.split(jax.random.fold_in(jax.random.key(recipe.seed), step), photos.shape[0])
    return Example(photo=photos, painting=paintings, key=keys)


def photo_loss(
    recipe: Training, task: Task, params: Any, statistics: Any, example: Example,
    purpose: Purpose = "train",
) -> tuple[Array, tuple[dict[str, Array], Any]]:
    """Loss of one photo for one painting, its parts, and new statistics."""
    photo, painting = example.photo, example.painting
    shares = jax.nn.one_hot(painting + task.network.styles - task.count, task.network.styles,
                            dtype=photo.dtype)

    def run(image: Array) -> tuple[Array, Any]:
        variables = {"params": params, "statistics": statistics}
        if purpose != "measure" and statistics:
            y, changed = task.network.apply(variables, image, shares, train=True, mutable=["statistics"])
            return y, changed["statistics"]
        y = task.network.apply(variables, image, shares)
        return cast(Array, y), statistics

    image, changed = run(photo)
    recoloured = with_moments(photo, *(leaf[painting] for leaf in task.colours))
    kept = lax.stop_gradient(photo + recipe.palette * (recoloured - photo))
    if purpose == "copy":
        difference = jnp.mean(jnp.abs(image - kept))
        return difference, ({"copy": difference}, changed)
    target = jax.tree.map(lambda leaf: leaf[painting], task.targets)
    factor = jnp.asarray(recipe.style_weights)[painting] if recipe.style_weights else 1.0
    total, parts = photo_objective(task.weights, recipe.terms, target, kept, image, factor)
    if recipe.noise and purpose == "train":
        noisy, _ = run(photo + recipe.noise * jax.random.normal(example.key, photo.shape, photo.dtype))
        parts["stability"] = recipe.stability * jnp.mean(jnp.square(noisy - image))
        total = total + parts["stability"]
    return total, (parts, changed)


def batch_loss(
    recipe: Training, task: Task, params: Any, statistics: Any, batch: Example,
    purpose: Purpose = "train",
) -> tuple[Array, tuple[dict[str, Array], Any]]:
    """Mean loss over `examples`, its parts, and new statistics."""
    prepared = ops.prepare(whole(task.base, params), recipe.precision)

    def one(example: Example) -> Any:
        return photo_loss(recipe, task, prepared, statistics, example, purpose)

    # One core computes photos in turn as fast as together, in less memory; batch norm looks at all at once.
    alone = jax.default_backend() == "cpu" and jax.device_count() == 1 and not statistics
    over = partial(lax.map, one) if alone else jax.vmap(one, axis_name=BATCH_AXIS)
    losses, (parts, changed) = over(batch)
    # Batch norm pools over the mapped axis, so that every photo brings the same statistics.
    changed = jax.tree.map(lambda leaf: leaf[0], changed) if statistics else {}
    return jnp.mean(losses), (jax.tree.map(jnp.mean, parts), changed)


def norm_of(tree: Any) -> Array:
    """Euclidean norm of all numbers of a pytree."""
    return jnp.sqrt(sum((jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)), start=jnp.zeros(())))


def copying_steps(recipe: Training) -> int:
    """How many steps at first only learn to give the photo back (mean |y − x|)."""
    return min(recipe.copying, recipe.steps // 10)


def update(recipe: Training, task: Task, state: State, photos: Array, purpose: Purpose = "train"
           ) -> tuple[State, dict[str, Array]]:
    """One step: the next state, and the weighted losses (with "total" and "gradient", its norm)."""
    paintings = styles_at(recipe, state.step, task.count)
    loss = partial(batch_loss, recipe, task, purpose=purpose)
    (total, (parts, statistics)), gradient = jax.value_and_grad(loss, has_aux=True)(
        state.params, state.statistics, examples(recipe, photos, paintings, state.step))
    moves, moments = optimizer(recipe).update(gradient, state.optimizer, state.params)
    pace = -rate(recipe, state.step) * state.scale
    params = jax.tree.map(lambda p, move: p + pace * move, state.params, moves)
    # Early averages forget the random start: (1 + t) / (10 + t) as in TensorFlow's moving average.
    decay = jnp.minimum(recipe.average, (1 + state.step) / (10 + state.step))
    average = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, state.average, params)
    following = State(step=state.step + 1, params=params, average=average, optimizer=moments,
                      statistics=lax.stop_gradient(statistics), scale=state.scale)
    return following, {"total": total, **parts, "gradient": norm_of(gradient)}
