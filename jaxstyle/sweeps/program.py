"""Many recipes in one compiled program: one lane each, spread over all local devices.

A *lane* is a recipe with its references. Lanes of equal structure are stacked; the program of a batch is
the single run's own `aim`, `begin` and `advance`, mapped over the lanes of each device. Nothing is exchanged
between lanes or devices, so each lane is the run that it would be alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.pytrees import pytree, stack, static, structure
from jaxstyle.references import References
from jaxstyle.solvers import Search
from jaxstyle.transfer.loop import MAX_STREAK, in_chunks
from jaxstyle.transfer.memory import memory_needed
from jaxstyle.transfer.program import CHUNK_STEPS, advance, aim, begin, network_for, prepared_for
from jaxstyle.transfer.recipe import Recipe

AXIS = "lanes"


@pytree
class Lanes:
    """A batch at some step: a `Snapshot` whose arrays have a leading axis over lanes.

    Attributes:
      images: the best so far `[n, H, W, 3]`, clipped to [0, 1]; search: all that is needed to go on, its
        memory reused as soon as the next snapshot is asked for.
      losses: total and parts of the steps since the last snapshot, name -> `[n, steps]`.
      alive: `[n]`, false for a lane whose loss was not finite at its first image or for ten steps in a row.
      stage, step, steps: as in `Snapshot`; memory: bytes per device; compile_seconds: of the stage so far.
    """

    images: Array
    search: Search
    losses: dict[str, np.ndarray]
    alive: np.ndarray
    stage: int = static()
    step: int = static()
    steps: int = static()
    memory: int = static(default=0)
    compile_seconds: float = static(default=0.0)


def lane_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """One axis over the devices of this process (or those given)."""
    return Mesh(np.array(devices or jax.local_devices()), (AXIS,))


def over_lanes(fun: Callable, mesh: Mesh, mapped: Sequence[bool]) -> Callable:
    """`fun` for every lane: arguments that are `mapped`, and all results, have a leading axis over lanes.

    Each device runs its own lanes: a single one by the very program of a single run, several in lock step.
    """
    def local(*arguments: Any) -> Any:
        lanes = next(jax.tree.leaves(x)[0].shape[0] for x, m in zip(arguments, mapped)
                     if m and jax.tree.leaves(x))
        if lanes > 1:
            return jax.vmap(fun, in_axes=tuple(0 if m else None for m in mapped))(*arguments)
        only = (jax.tree.map(lambda leaf: leaf[0], x) if m else x for x, m in zip(arguments, mapped))
        return jax.tree.map(lambda leaf: leaf[None], fun(*only))

    specs = tuple(P(AXIS) if m else P() for m in mapped)
    return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=P(AXIS), check_vma=False)


@partial(jax.jit, static_argnames=("stage", "mesh", "shared"))
def aim_lanes(weights: Weights, references: References, recipes: Recipe, stage: int, mesh: Mesh,
              shared: bool) -> dict[str, Any]:
    """`aim` of every lane; `shared`: all lanes have the same references, which have no lane axis then."""
    def one(weights: Weights, references: References, recipe: Recipe) -> dict[str, Any]:
        return aim(weights, references, recipe, stage)

    return over_lanes(one, mesh, (False, not shared, True))(weights, references, recipes)


@partial(jax.jit, static_argnames=("stage", "mesh", "shared"))
def begin_lanes(weights: Weights, references: References, recipes: Recipe, aims: Any, stage: int,
                previous: Array | None, mesh: Mesh, shared: bool) -> Search:
    """`begin` of every lane."""
    def one(weights: Weights, references: References, recipe: Recipe, aims: Any, previous: Any) -> Search:
        return begin(weights, references, recipe, aims, stage, previous)

    mapped = (False, not shared, True, True, True)
    return over_lanes(one, mesh, mapped)(weights, references, recipes, aims, previous)


@partial(jax.jit, static_argnames=("capacity", "mesh"), donate_argnames="search")
def advance_lanes(weights: Weights, recipes: Recipe, aims: Any, search: Search, steps: Any, capacity: int,
                  mesh: Mesh) -> tuple[Search, dict[str, Array]]:
    """`advance` of every lane by the same number of steps."""
    def one(weights: Weights, recipe: Recipe, aims: Any, search: Search, steps: Any) -> Any:
        return advance(weights, recipe, aims, search, steps, capacity)

    return over_lanes(one, mesh, (False, True, True, True, False))(weights, recipes, aims, search, steps)


def forget_programs() -> None:
    """Free the programs of groups that are done: each takes hundreds of memory maps, and where the 65,530
    that Linux gives a process are used up, it crashes."""
    for function in (aim_lanes, begin_lanes, advance_lanes):
        function.clear_cache()  # type: ignore[attr-defined]


def group_key(recipe: Recipe, references: References) -> Any:
    """Hashable: lanes with equal keys can be stacked and share one program."""
    return structure(recipe), structure(references)


@pytree
class Batch:
    """The stacked inputs of a batch, on their devices, padded to the width of the program."""

    weights: Weights
    references: References
    recipes: Recipe
    shared: bool = static()
    count: int = static()
    width: int = static()
    mesh: Mesh = static()


def place(weights: Weights, references: Sequence[References], recipes: Sequence[Recipe], width: int,
          mesh: Mesh) -> Batch:
    """Stack lanes of one group, at most `width` (a multiple of the devices), and put them in place."""
    if not 0 < len(recipes) <= width or width % mesh.devices.size:
        raise ValueError(f"{len(recipes)} lanes in a batch of {width} on {mesh.devices.size} devices")
    shared = all(other is references[0] for other in references)
    everywhere, lanes = NamedSharding(mesh, P()), NamedSharding(mesh, P(AXIS))
    network = network_for(weights, recipes[0])
    given = references[0] if shared else padded(stack(references), width)
    return Batch(
        weights=jax.device_put(network, everywhere),
        references=jax.device_put(given, everywhere if shared else lanes),
        recipes=jax.device_put(padded(stack(recipes), width), lanes),
        shared=shared, count=len(recipes), width=width, mesh=mesh,
    )


def padded(tree: Any, width: int) -> Any:
    """The lanes of `tree`, the last one repeated up to `width`."""
    def pad(leaf: Any) -> Array:
        missing = width - leaf.shape[0]
        return jnp.concatenate([leaf, jnp.repeat(leaf[-1:], missing, axis=0)]) if missing else leaf

    return jax.tree.map(pad, tree)


def run_lanes(batch: Batch, *, stops: Sequence[int] = (), resume: Lanes | None = None) -> Iterator[Lanes]:
    """Runs a batch step by step, as `stylize_iter` runs one recipe.

    Yields before the first step of each stage, about twice a second, at the steps `stops` (counted over all
    stages) and at the end of each stage. A lane that fails stays in its place and disturbs no other; the
    batch ends early only if all fail.

    Args:
      resume: lanes of an earlier run to go on from, `search` without the padding.
    """
    previous, recipes = None, batch.recipes
    lanes = NamedSharding(batch.mesh, P(AXIS))
    for index in range(resume.stage if resume else 0, len(recipes.stages)):
        started = time.perf_counter()
        before = sum(stage.steps for stage in recipes.stages[:index])
        aims = aim_lanes(batch.weights, batch.references, recipes, index, batch.mesh, batch.shared)
        if resume and resume.stage == index:
            search, step = jax.device_put(padded(resume.search, batch.width), lanes), resume.step
        else:
            search, step = begin_lanes(batch.weights, batch.references, recipes, aims, index, previous,
                                       batch.mesh, batch.shared), 0
        ready = ready_for(batch, index, search)
        go = partial(advance_lanes, ready, recipes, aims, capacity=CHUNK_STEPS, mesh=batch.mesh)
        compiled = advance_lanes.lower(ready, recipes, aims, search, 1, **go.keywords).compile()
        fields = {"memory": memory_needed(compiled), "compile_seconds": time.perf_counter() - started}
        previous = search.best.x
        yield _snapshot(batch, search, {}, index, step, **fields)
        local_stops = [stop - before for stop in stops]
        for after, losses, done in in_chunks(go, search, step, recipes.stages[index].steps, local_stops):
            yield (at := _snapshot(batch, after, losses, index, done))
            if not at.alive.any():
                return
            previous = after.best.x


def ready_for(batch: Batch, index: int, search: Search) -> Weights:
    """Weights in the form that a single run of this stage would advance with."""
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), search)
    ready = prepared_for(batch.weights, batch.recipes, index, one)
    return jax.device_put(ready, NamedSharding(batch.mesh, P()))


def _snapshot(batch: Batch, search: Search, losses: dict[str, np.ndarray], stage: int, step: int,
              **fields: Any) -> Lanes:
    real = jax.tree.map(lambda leaf: leaf[: batch.count], search)
    shown = {name: values[: batch.count] for name, values in losses.items()}
    return Lanes(images=jnp.clip(real.best.x, 0, 1), search=real, losses=shown, alive=living(real),
                 stage=stage, step=step, steps=batch.recipes.stages[stage].steps, **fields)


def living(search: Search) -> np.ndarray:
    """Which lanes `[n]` have not failed: see `Lanes.alive`."""
    return np.isfinite(np.asarray(search.best.value)) & (np.asarray(search.streak) < MAX_STREAK)
