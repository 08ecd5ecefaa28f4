"""The loop of a training: a generator of reports; files and progress belong to whoever consumes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.fast.card import Card
from jaxstyle.fast.model import Model
from jaxstyle.fast.training.data import Photos
from jaxstyle.fast.training.objective import check_terms, style_targets
from jaxstyle.fast.training.recipe import Training
from jaxstyle.fast.training.train import (
    Purpose,
    State,
    Task,
    batch_loss,
    copying_steps,
    examples,
    update,
    whole,
)
from jaxstyle.ops.colors.palette import moments
from jaxstyle.ops.resize import resize
from jaxstyle.pytrees import stack
from jaxstyle.transfer.objective import layers_of

CHUNK = 10
"""Steps between two reports, and between two states that a loss which is not finite goes back to."""
MOST_FAILURES = 5


@dataclass(frozen=True)
class Report:
    """Where a training, or many lanes of them, is.

    Attributes:
      state: after `step` steps; losses: means over the steps since the report before, by name: numbers, or
        one for each lane.
      seconds: per step; note: what went wrong, "" if nothing.
    """

    state: State
    step: int
    losses: dict[str, Any]
    seconds: float
    note: str = ""


@partial(jax.jit, donate_argnums=2, static_argnames=("lanes", "purpose"))
def _advance(recipe: Training, task: Task, state: State, photos: Any, lanes: bool, purpose: Purpose
             ) -> tuple[State, dict[str, Array]]:
    """A step of one training, or of many lanes with the same photos."""
    step = partial(update, purpose=purpose)
    if lanes:
        return jax.vmap(step, in_axes=(0, None, 0, None))(recipe, task, state, photos)
    return step(recipe, task, state, photos)


def make_task(recipe: Training, weights: Weights, paintings: Sequence[Any], base: Model | None = None
              ) -> Task:
    """Targets of the paintings `[H, W, 3]` and the network that learns them.

    Raises:
      JaxstyleError: terms that cannot be trained with, a base whose norm is not conditional, or as the terms.
    """
    check_terms(recipe.terms)
    if recipe.style_weights and len(recipe.style_weights) != len(paintings):
        raise JaxstyleError(f"style_weights has {len(recipe.style_weights)} numbers for {len(paintings)} "
                            "paintings")
    looking = weights.with_network(pooling=recipe.pooling)
    target = jax.jit(style_targets)
    sized = [resize(painting, recipe.style_size) for painting in paintings]
    targets = stack([target(looking, recipe.terms, painting) for painting in sized])
    network = recipe.architecture.network(len(paintings))
    if base is not None:
        if base.network.norm != "conditional":
            raise JaxstyleError(f"model '{base.card.name}' has {base.network.norm} norm; styles are added to "
                                "a model with conditional norm")
        network = base.network.clone(styles=base.network.styles + len(paintings))
    prepared = looking.prepared(recipe.precision, layers_of(recipe.terms))
    return Task(weights=prepared, targets=targets, colours=stack([moments(painting) for painting in sized]),
                base={} if base is None else base.params, network=network, count=len(paintings))


def train_iter(recipe: Training, task: Task, state: State, photos: Photos,
               stop: Callable[[], bool] = lambda: False) -> Iterator[Report]:
    """Trains up to `recipe.steps` steps, and reports after every ten.

    A loss that is not finite brings the state before those ten steps back, with half the learning rate. Of
    many lanes all go back, and those that fail five times in a row stand still from then on, at rate 0.

    Args:
      recipe: of one training, or stacked along a leading axis of lanes (`pytrees.stack`), as is the state
        then; all lanes see the same photos.
      state: is consumed; stop: asked after every step; when it says so the last report comes at once.

    Raises:
      JaxstyleError: the loss was not finite five times in a row.
    """
    lanes, first = np.ndim(state.step) > 0, copying_steps(recipe)
    step, failures = int(np.max(state.step)), np.zeros(np.shape(state.step), int)
    stopped = False
    while step < recipe.steps and not stopped:
        kept, began, losses = jax.tree.map(jnp.copy, state), time.monotonic(), []
        copying = step < first
        goal = min(first if copying else recipe.steps, (step // CHUNK + 1) * CHUNK)
        for _ in range(step, goal):
            state, parts = _advance(recipe, task, state, shared(next(photos)), lanes,
                                    "copy" if copying else "train")
            losses.append(parts)
            if stopped := stop():
                break
        means = {name: np.mean([np.asarray(each[name]) for each in losses], 0, np.float64)
                 for name in losses[0]}
        seconds, note = (time.monotonic() - began) / len(losses), ""
        sound = np.all([np.isfinite(values) for values in means.values()], 0) | (np.asarray(kept.scale) == 0)
        failures = np.where(sound, 0, failures + 1)
        if np.all(sound):
            step = int(np.max(state.step))
        else:
            state, note = gone_back(kept, step, sound, failures)
        yield Report(jax.tree.map(jnp.copy, state), step, means, seconds, note)


def gone_back(kept: State, step: int, sound: np.ndarray, failures: np.ndarray) -> tuple[State, str]:
    """The state to go on from after a loss that was not finite, and what to say about it.

    Args:
      kept: the state before, at `step`; sound: whether all was finite; failures: how often in a row it was
        not. Numbers, or one for each lane.

    Raises:
      JaxstyleError: nothing is left that could be trained.
    """
    lost = failures >= MOST_FAILURES
    if np.all(lost | (np.asarray(kept.scale) == 0)):
        raise JaxstyleError(f"the loss was not finite {MOST_FAILURES} times in a row after step {step}, "
                            f"with learning rates down to {0.5 ** (MOST_FAILURES - 1):.3g} of the "
                            "recipe's; use a smaller learning_rate or clip")
    who = f" of lanes {', '.join(map(str, np.flatnonzero(~sound)))}" if sound.ndim else ""
    factor = np.where(lost, 0.0, np.where(sound, 1.0, 0.5))
    return (replace(kept, scale=kept.scale * jnp.asarray(factor, kept.scale.dtype)),
            f"the loss{who} was not finite: back to step {step} with half the learning rate")


def shared(photos: np.ndarray) -> Any:
    """A batch `[n, H, W, 3]` spread over all devices of all processes; on one device as it is.

    Raises:
      JaxstyleError: the batch cannot be split evenly.
    """
    if jax.device_count() == 1:
        return photos
    if len(photos) % jax.local_device_count():
        raise JaxstyleError(f"a batch of {len(photos)} photos cannot be split over "
                            f"{jax.local_device_count()} devices; choose a multiple of their number")
    mesh = Mesh(np.asarray(jax.devices()), ("batch",))
    return jax.make_array_from_process_local_data(NamedSharding(mesh, PartitionSpec("batch")), photos)


def held_out_loss(recipe: Training, task: Task, state: State, squares: np.ndarray) -> dict[str, float]:
    """Mean loss of the averaged network on photos `[n, S, S, 3]` that it never saw, and its parts.

    Photos and paintings go round together; none give nothing.
    """
    if not len(squares):
        return {}
    paintings = jnp.arange(len(squares)) % task.count
    total, parts = _held_out(recipe, task, state.average, state.statistics, squares, paintings)
    return {"total": float(total), **{name: float(value) for name, value in parts.items()}}


def held_out_losses(recipe: Training, task: Task, state: State, squares: np.ndarray) -> dict[str, np.ndarray]:
    """The same of many lanes, `[lanes]` each."""
    if not len(squares):
        return {}
    paintings = jnp.arange(len(squares)) % task.count
    total, parts = _held_out_lanes(recipe, task, state.average, state.statistics, squares, paintings)
    return {name: np.asarray(values) for name, values in {"total": total, **parts}.items()}


@jax.jit
def _held_out(recipe: Training, task: Task, params: Any, statistics: Any, squares: Array, paintings: Array
              ) -> tuple[Array, dict[str, Array]]:
    total, (parts, _) = batch_loss(recipe, task, params, statistics, examples(recipe, squares, paintings, 0),
                                   purpose="measure")
    return total, parts


_held_out_lanes = jax.jit(jax.vmap(_held_out, in_axes=(0, None, 0, 0, None, None)))


def model_of(task: Task, state: State, card: Card) -> Model:
    """The network with the averaged parameters, as a model."""
    return Model(network=task.network, params=whole(task.base, state.average), statistics=state.statistics,
                 card=card)
