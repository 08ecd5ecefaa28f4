"""The loop of a training: a generator of reports; files and progress belong to whoever consumes it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.fast.model import Card, Model
from jaxstyle.fast.training.data import Photos
from jaxstyle.fast.training.objective import check_terms, style_targets
from jaxstyle.fast.training.recipe import Training
from jaxstyle.fast.training.train import State, Task, batch_loss, examples, update, whole
from jaxstyle.ops.resize import resize
from jaxstyle.pytrees import stack
from jaxstyle.transfer.objective import layers_of

CHUNK = 10
"""Steps between two reports, and between two states that a loss which is not finite goes back to."""
MOST_FAILURES = 5


@dataclass(frozen=True)
class Report:
    """Where a training is.

    Attributes:
      state: after `step` steps; losses: means over the steps since the report before, by name.
      seconds: per step; note: what went wrong, "" if nothing.
    """

    state: State
    step: int
    losses: dict[str, float]
    seconds: float
    note: str = ""


_advance = jax.jit(update, donate_argnums=2)


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
    targets = stack([target(looking, recipe.terms, resize(painting, recipe.style_size))
                     for painting in paintings])
    network = recipe.architecture.network(len(paintings))
    if base is not None:
        if base.network.norm != "conditional":
            raise JaxstyleError(f"model '{base.card.name}' has {base.network.norm} norm; styles are added to "
                                "a model with conditional norm")
        network = base.network.clone(styles=base.network.styles + len(paintings))
    prepared = looking.prepared(recipe.precision, layers_of(recipe.terms))
    return Task(weights=prepared, targets=targets, base={} if base is None else base.params, network=network,
                count=len(paintings))


def train_iter(recipe: Training, task: Task, state: State, photos: Photos,
               stop: Callable[[], bool] = lambda: False) -> Iterator[Report]:
    """Trains up to `recipe.steps` steps, and reports after every ten.

    A loss that is not finite brings the state before those ten steps back, with half the learning rate.

    Args:
      state: is consumed; stop: asked after every step; when it says so the last report comes at once.

    Raises:
      JaxstyleError: the loss was not finite five times in a row.
    """
    step, failures = int(state.step), 0
    stopped = False
    while step < recipe.steps and not stopped:
        kept, began, losses = jax.tree.map(jnp.copy, state), time.monotonic(), []
        goal = min(recipe.steps, (step // CHUNK + 1) * CHUNK)
        for _ in range(step, goal):
            state, parts = _advance(recipe, task, state, shared(next(photos)))
            losses.append(parts)
            if stopped := stop():
                break
        means = {name: float(np.mean([np.asarray(each[name]) for each in losses])) for name in losses[0]}
        seconds, note = (time.monotonic() - began) / len(losses), ""
        if all(map(math.isfinite, means.values())):
            failures, step = 0, int(state.step)
        else:
            failures += 1
            if failures == MOST_FAILURES:
                raise JaxstyleError(f"the loss was not finite {failures} times in a row after step {step}, "
                                    f"with learning rates down to {0.5 ** (failures - 1):.3g} of the "
                                    "recipe's; use a smaller learning_rate or clip")
            state = replace(kept, scale=kept.scale / 2)
            note = f"the loss was not finite: back to step {step} with half the learning rate"
        yield Report(jax.tree.map(jnp.copy, state), step, means, seconds, note)


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


@jax.jit
def _held_out(recipe: Training, task: Task, params: Any, statistics: Any, squares: Array, paintings: Array
              ) -> tuple[Array, dict[str, Array]]:
    total, (parts, _) = batch_loss(recipe, task, params, statistics, examples(recipe, squares, paintings, 0),
                                   train=False)
    return total, parts


def model_of(task: Task, state: State, card: Card) -> Model:
    """The network with the averaged parameters, as a model."""
    return Model(network=task.network, params=whole(task.base, state.average), statistics=state.statistics,
                 card=card)
