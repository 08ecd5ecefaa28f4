"""The one loop that runs recipes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.ops.sharding import replicate, row_shardings
from jaxstyle.pytrees import pytree, static
from jaxstyle.references import References
from jaxstyle.solvers import MAX_STREAK, Search
from jaxstyle.transfer.inputs import check_split
from jaxstyle.transfer.program import CHUNK_STEPS, Devices, advance, aim, begin, network_for, prepared_for
from jaxstyle.transfer.recipe import Recipe

CHUNK_SECONDS = 0.5


@pytree
class Result:
    """A finished image `[H, W, 3]` in [0, 1], its loss and parts, and the losses of every step by stage."""

    image: Array
    value: Array
    parts: dict[str, Array]
    history: tuple[dict[str, Array], ...]
    failures: Array


@pytree
class Snapshot:
    """A run at some step.

    Attributes:
      image: the best image so far `[H, W, 3]`, clipped to [0, 1].
      search: all that is needed to go on (see `stylize_iter`); its memory is reused as soon as the next
        snapshot is asked for, so save or copy it before.
      stage, step: where the run is: `step` steps of stage `stage` are done; steps: of that stage in all.
      losses: total and parts of the steps since the last snapshot, name -> `[n]`.
    """

    image: Array
    search: Search
    losses: dict[str, np.ndarray]
    stage: int = static()
    step: int = static()
    steps: int = static()


def stylize(weights: Weights, references: References, recipe: Recipe) -> Result:
    """Runs a recipe as one pure function: `jit` and `vmap` it over recipes, references or both.

    Non-finite steps are undone (see `search_step`) and counted in `Result.failures`.
    """
    weights = network_for(weights, recipe)
    previous, history, failures = None, [], jnp.zeros((), jnp.int32)
    for index, stage in enumerate(recipe.stages):
        aims = aim(weights, references, recipe, index)
        search = begin(weights, references, recipe, aims, index, previous)
        ready = prepared_for(weights, recipe, index, search)
        search, losses = advance(ready, recipe, aims, search, stage.steps, stage.steps)
        previous = search.best.x
        history.append(losses)
        failures = failures + search.failures
    return Result(image=jnp.clip(previous, 0, 1), value=search.best.value, parts=search.best.parts,
                  history=tuple(history), failures=failures)


def stylize_iter(
    weights: Weights,
    references: References,
    recipe: Recipe,
    *,
    every: int | None = None,
    resume: Snapshot | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Iterator[Snapshot]:
    """Runs a recipe step by step: the one loop that everything else consumes.

    Yields a snapshot before the first step of each stage, then about twice a second, and without fail at
    every multiple of `every` steps and at the end of each stage. How often a snapshot is taken changes
    nothing in the result.

    Args:
      resume: a snapshot of an earlier run of the same recipe, to go on from, bit for bit.
      devices: over which the rows of the image, and all that has its shape, are split; None: one device.

    Raises:
      JaxstyleError: the loss is not finite at the start, or ten steps in a row fail; or the image cannot be
        split over the devices.
    """
    weights, shared = network_for(weights, recipe), tuple(devices or ())
    if shared:
        check_split(references, recipe, len(shared))
        weights, references = replicate((weights, references), shared)
    previous = None
    for index in range(resume.stage if resume else 0, len(recipe.stages)):
        resumed = resume if resume and resume.stage == index else None
        for snapshot in _run_stage(weights, references, recipe, index, previous, every, resumed, shared):
            yield snapshot
            previous = snapshot.search.best.x


def _run_stage(
    weights: Weights, references: References, recipe: Recipe, index: int, previous: Array | None,
    every: int | None, resumed: Snapshot | None, devices: Devices,
) -> Iterator[Snapshot]:
    total = recipe.stages[index].steps
    aims = aim(weights, references, recipe, index, devices)
    if resumed is None:
        search, step = begin(weights, references, recipe, aims, index, previous, devices), 0
    else:
        search, step = jax.tree.map(jnp.copy, resumed.search), resumed.step
        if devices:
            search = jax.device_put(search, row_shardings(search, search.best.x.shape, devices))
    ready = prepared_for(weights, recipe, index, search)
    if devices:
        ready = replicate(ready, devices)
    if not np.isfinite(search.best.value):
        raise JaxstyleError("the loss is not a finite number at the first image; use smaller weights")
    where = partial(Snapshot, stage=index, steps=total)
    yield where(image=jnp.clip(search.best.x, 0, 1), search=search, losses={}, step=step)
    stops = range(every, total, every) if every else ()
    go = partial(advance, ready, recipe, aims, capacity=CHUNK_STEPS, devices=devices)
    for after, losses, done in in_chunks(go, search, step, total, stops):
        streak = int(after.streak)
        yield where(image=jnp.clip(after.best.x, 0, 1), search=after, step=done, losses=losses)
        if streak >= MAX_STREAK:
            raise JaxstyleError(
                f"{streak} steps in a row gave no finite loss (stage {index + 1}, step {done}); "
                "use smaller weights, a smaller learning rate, or precision float32"
            )


def in_chunks(
    go: Callable[[Search, int], tuple[Search, dict[str, Array]]], search: Search, step: int, total: int,
    stops: Iterable[int],
) -> Iterator[tuple[Search, dict[str, np.ndarray], int]]:
    """The rest of a stage in chunks of about `CHUNK_SECONDS` that end at every step of `stops`.

    `go(search, n)` makes n steps; yields the search, the losses `[..., n]` of the chunk and the steps done.
    """
    pace = 0.0
    while step < total:
        ahead = min([total - step, CHUNK_STEPS, *(stop - step for stop in stops if stop > step)])
        steps = max(1, min(ahead, int(CHUNK_SECONDS / pace) if pace else 1))
        started = time.perf_counter()
        search, losses = jax.block_until_ready(go(search, steps))
        pace, step = (time.perf_counter() - started) / steps, step + steps
        yield search, {name: np.asarray(values)[..., :steps] for name, values in losses.items()}, step
