"""What `distill.train` keeps between steps, and everything that changes it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from distill import data, optim, regress
from distill.targets import LAYERS, Target, gram, loss, shifted, truths
from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import Weights

# Steps of the unfinished optimisations, those after which their images are kept, and Adam's rate.
DREAM_STEPS, DREAM_KEPT, DREAM_RATE = 24, (3, 11, 23), 0.04


class State(NamedTuple):
    """All that a run needs to go on."""

    params: Any
    heads: Any
    momentum: Any
    moments: Any
    whites: Any
    pool: Array
    filled: Array


def inputs(network: VGG) -> dict[str, str]:
    """The layer before every convolution but the first."""
    convs = [name for name in network.layers if name.startswith("conv") and not name.endswith("aux")]
    before = [name for name in network.layers if name[:4] in ("relu", "pool") and not name.endswith("aux")]
    return {conv: before[before.index(conv.replace("conv", "relu")) - 1] for conv in convs[1:]}


@functools.partial(jax.jit, static_argnames="targets")
def moments(student: Weights, params: Any, images: Array, targets: tuple[Target, ...]) -> Any:
    """Second moments of the inputs of every layer and map, by name, over images `[n, h, w, 3]`."""
    model = Weights(params=params, matrix=student.matrix, offset=student.offset, network=student.network)
    before = {k: v for k, v in inputs(student.network).items() if k in params}
    heads = {target.name: target.student for target in targets if not target.same}

    def one(image: Array) -> Any:
        found = model.features(image, tuple({*before.values(), *heads.values()}))
        first = optim.covariance(image @ student.matrix + student.offset, 3)
        convs = {name: optim.covariance(found[layer], 3) for name, layer in before.items()}
        return ({"conv1_1": first, **convs},
                {name: optim.covariance(found[layer], 1) for name, layer in heads.items()})

    return jax.tree.map(lambda x: x.mean(0), jax.lax.map(one, images))


@jax.jit
def whiten(moments: Any) -> Any:
    """Whiteners of `moments`."""
    return jax.tree.map(optim.whitener, moments)


@functools.partial(jax.jit, static_argnames=("targets", "mix"), donate_argnames="state")
def update(
    state: State, student: Weights, teachers: list[Weights], scales: Any, images: Array, rate: Any,
    targets: tuple[Target, ...], mix: tuple[float, float, float],
) -> tuple[State, Array, dict[str, Array]]:
    """One step; `rate` is a leaf, so a schedule never recompiles."""
    trained = (state.params, state.heads)
    (value, parts), gradient = jax.value_and_grad(loss, has_aux=True)(
        trained, student, teachers, scales, images, targets, mix)
    layers, tree = jax.tree.flatten(trained, is_leaf=lambda x: "kernel" in x)
    whites, old = jax.tree.leaves(state.whites), jax.tree.leaves(state.momentum)
    new = [optim.step(*numbers, rate)
           for numbers in zip(layers, tree.flatten_up_to(gradient), old, whites)]
    params, heads = tree.unflatten([layer for layer, _ in new])
    momentum = jax.tree.unflatten(jax.tree.structure(state.momentum), [m for _, m in new])
    return state._replace(params=params, heads=heads, momentum=momentum), value, parts


@jax.jit
def dream(student: Weights, params: Any, contents: Array, styles: Array, starts: Array) -> Array:
    """Images on the way of an Adam style optimisation with the student, `[n, kept, h, w, 3]`."""
    model = Weights(params=params, matrix=student.matrix, offset=student.offset, network=student.network)
    known = tuple(layer for layer in LAYERS if layer in student.network.layers)
    grams_of = tuple(layer for layer in known if layer.endswith("_1"))
    where = "relu4_2" if "relu4_2" in known else known[-1]

    def one(content: Array, style: Array, start: Array) -> Array:
        wanted = {k: gram(v) for k, v in model.features(style, grams_of).items()}
        place = model.features(content, (where,))[where]

        def objective(x: Array) -> Array:
            found = model.features(x, known)
            style_loss = sum(jnp.sum((gram(found[k]) - wanted[k]) ** 2) / jnp.sum(wanted[k] ** 2)
                             for k in grams_of)
            return style_loss + 0.2 * jnp.mean((found[where] - place) ** 2) / jnp.mean(place ** 2)

        solver = optax.adam(DREAM_RATE)

        def body(carry: Any, _: None) -> tuple[Any, Array]:
            x, moments = carry
            step, moments = solver.update(jax.grad(objective)(x), moments)
            return (x + step, moments), x + step

        steps = jax.lax.scan(body, (start, solver.init(start)), None, DREAM_STEPS)[1]
        return steps[jnp.array(DREAM_KEPT)]

    return jax.vmap(one)(contents, styles, starts)


def refill(state: State, student: Weights, pictures: list[np.ndarray], rng: Any) -> State:
    """Puts images of unfinished optimisations over the oldest ones of the pool (a ring)."""
    capacity, size = state.pool.shape[:2]
    count = min(4, capacity // len(DREAM_KEPT))
    images = [data.clean_images(rng, pictures, count, size) for _ in range(2)]
    noise = 0.5 + 0.2 * rng.standard_normal(images[0].shape)
    share = rng.choice([0, 0.3, 1], (count, 1, 1, 1))
    starts = (images[0] * (1 - share) + noise * share).astype(np.float32)
    made = dream(student, state.params, images[0], images[1], starts).reshape(-1, size, size, 3)
    slots = (int(state.filled) + np.arange(len(made))) % capacity
    pool = state.pool.at[slots].set(jnp.nan_to_num(made).clip(-2, 3).astype(state.pool.dtype))
    return state._replace(pool=pool, filled=state.filled + len(made))


def fit_maps(features: dict[str, Array], teachers: list[Weights], targets: Sequence[Target],
             images: np.ndarray) -> Any:
    """Linear maps by least squares, for targets that need one."""
    mapped = [target for target in targets if not target.same]
    run = jax.jit(lambda teachers, x: truths(teachers, mapped, x))
    true = [run(teachers, image) for image in images]
    heads = {}
    for target in mapped:
        x = jax.vmap(lambda f, by=target.shift: shifted(f, by))(features[target.student])
        y = jnp.stack([t[target.name] for t in true])
        height, width = min(x.shape[1], y.shape[1]), min(x.shape[2], y.shape[2])
        flat = np.asarray(x[:, :height, :width]).reshape(-1, x.shape[-1])
        flat = np.concatenate([flat, np.ones((len(flat), 1), np.float32)], 1)
        goal = np.asarray(y[:, :height, :width]).reshape(len(flat), -1)
        fitted = regress.solve(flat, goal, ridge=1e-3).astype(np.float32)
        heads[target.name] = {"kernel": jnp.asarray(fitted[:-1]), "bias": jnp.asarray(fitted[-1])}
    return heads


def new_state(student: Weights, params: Any, heads: Any, targets: Sequence[Target], images: Array,
              pool: int) -> State:
    """The start of the second stage; input moments are measured on `images`."""
    # A copy, because a step reuses the memory of its state and the student is used again.
    params, heads = jax.tree.map(jnp.array, (params, heads))
    measured = moments(student, params, images, tuple(targets))
    momentum = jax.tree.map(lambda x: jnp.zeros_like(optim.matrix(x)), (params, heads),
                            is_leaf=lambda x: "kernel" in x)
    return State(params, heads, momentum, measured, whiten(measured),
                 jnp.zeros((pool, *images.shape[1:]), jnp.float16), jnp.zeros((), jnp.int32))


def state_shapes(student: Weights, teachers: list[Weights], targets: Sequence[Target], images: np.ndarray,
                 pool: int) -> State:
    """Shapes of `new_state` with maps that fit the targets."""
    mapped = [target for target in targets if not target.same]

    def begin(images: Array) -> State:
        seen = student.features(images[0], tuple({target.student for target in mapped}))
        true = truths(teachers, mapped, images[0])
        widths = {t.name: (seen[t.student].shape[-1], true[t.name].shape[-1]) for t in mapped}
        heads = {name: {"kernel": jnp.zeros(shape), "bias": jnp.zeros(shape[1:])}
                 for name, shape in widths.items()}
        return new_state(student, student.params, heads, targets, images, pool)

    return jax.eval_shape(begin, images)


def revive(student: Weights, params: Any, heads: Any, targets: Sequence[Target], images: Array,
           rng: np.random.Generator) -> tuple[Any, Any]:
    """Channels that never fire on `images` get random filters of unit variance and zero mean.

    A teacher may have channels that are dead, whose imitation wastes the student's. Layers that equal
    the teacher's are left alone. What follows a revived channel ignores it at first.
    """
    convs = [name for name in student.network.layers if name.startswith("conv")]
    kept = {target.student for target in targets if target.same}
    params, heads = jax.tree.map(np.array, (params, heads))
    relus = tuple(conv.replace("conv", "relu") for conv in convs)
    fires = jax.jit(lambda w, x: {k: v.max((0, 1)) for k, v in w.features(x, relus).items()})
    for index, (conv, relu) in enumerate(zip(convs, relus)):
        if relu in kept:
            continue
        model = Weights(params=params, matrix=student.matrix, offset=student.offset,
                        network=student.network)
        dead = np.max([fires(model, image)[relu] for image in images], 0) <= 1e-3
        moment = np.asarray(moments(student, params, images, tuple(targets))[0][conv])
        size, count = len(moment) - 1, int(dead.sum())
        filters = rng.standard_normal((size, count))
        mean = filters.T @ moment[:-1, -1]
        deviation = np.sqrt(np.einsum("dc,de,ec->c", filters, moment[:-1, :-1], filters) - mean ** 2)
        params[conv]["kernel"][..., dead] = (filters / deviation).reshape(
            *params[conv]["kernel"].shape[:3], count)
        params[conv]["bias"][dead] = -mean / deviation
        if index + 1 < len(convs):
            params[convs[index + 1]]["kernel"][:, :, dead] = 0
        for target in targets:
            if target.student == relu and not target.same:
                heads[target.name]["kernel"][dead] = 0
    return params, heads


def remeasure(state: State, student: Weights, targets: Sequence[Target], images: Array) -> State:
    """Follows the input moments as the layers before change."""
    now = moments(student, state.params, images, targets)
    mixed = jax.tree.map(lambda old, new: 0.7 * old + 0.3 * new, state.moments, now)
    return state._replace(moments=mixed, whites=whiten(mixed))
