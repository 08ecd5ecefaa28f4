"""How many lanes run at once: as many as pay, and as fit into memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxstyle.fitting import canvas
from jaxstyle.images import fit_shape
from jaxstyle.recipe import Recipe
from jaxstyle.references import References
from jaxstyle.solvers import Search
from jaxstyle.stylize import CHUNK_STEPS, memory_needed
from jaxstyle.sweep import AXIS, Batch, advance_lanes, aim_lanes, begin_lanes, place, ready_for
from jaxstyle.weights import Weights

LOCK_STEP_PIXELS = 64 * 64
CPU_LANES, ACCELERATOR_LANES = 8, 64
MEMORY_SHARE = 0.8


def default_width(count: int, pixels: int, mesh: Mesh) -> int:
    """Lanes of one batch before memory is looked at, a multiple of the devices.

    On a CPU one lane per device above 64×64 pixels: convolutions fill its cores already, and finished
    lanes come out sooner (docs/sweeps.md has the measurements). Elsewhere as many as there are, up to 64.
    """
    if mesh.devices.flat[0].platform == "cpu":
        most = CPU_LANES if pixels <= LOCK_STEP_PIXELS else 1
    else:
        most = ACCELERATOR_LANES
    return even_width(count, most, mesh)


def even_width(count: int, most: int, mesh: Mesh) -> int:
    """Width of equal batches for `count` lanes with at most `most` lanes on each device."""
    size = mesh.devices.size
    batches = -(-count // (most * size))
    return size * -(-count // (batches * size))


def largest_stage(recipe: Recipe, references: References) -> tuple[int, int]:
    """Index of the stage with the largest image, and its pixels."""
    height, width = canvas(references).shape[:2]
    def pixels(index: int) -> int:
        stage = recipe.stages[index]
        shape = (height, width) if stage.size is None else fit_shape(height, width, stage.size, stage.by)
        return shape[0] * shape[1]

    index = max(range(len(recipe.stages)), key=pixels)
    return index, pixels(index)


def fitting_width(weights: Weights, references: Sequence[References], recipes: Sequence[Recipe], mesh: Mesh
                  ) -> int:
    """The default width, made smaller until the compiled program fits into the memory of a device.

    The program compiled here is the one that runs: a group is compiled once unless it did not fit.
    """
    index, pixels = largest_stage(recipes[0], references[0])
    width = default_width(len(recipes), pixels, mesh)
    budget = memory_budget(mesh)
    while width > mesh.devices.size:
        batch = place(weights, references[:width], recipes[:width], width, mesh)
        needed = memory_needed(compile_stage(batch, index))
        if needed <= budget:
            break
        most = max(1, min(width // mesh.devices.size - 1, int(width / mesh.devices.size * budget / needed)))
        width = even_width(len(recipes), most, mesh)
    return width


def aim_shapes(batch: Batch, index: int) -> Any:
    """Shapes of the targets of a stage, with their places."""
    return _on_lanes(batch, jax.eval_shape(
        partial(aim_lanes, stage=index, mesh=batch.mesh, shared=batch.shared),
        batch.weights, batch.references, batch.recipes))


def search_shapes(batch: Batch, index: int) -> Search:
    """Shapes of the searches of a stage, with their places."""
    first = partial(begin_lanes, stage=index, previous=None, mesh=batch.mesh, shared=batch.shared)
    return _on_lanes(batch, jax.eval_shape(first, batch.weights, batch.references, batch.recipes,
                                           aim_shapes(batch, index)))


def _on_lanes(batch: Batch, tree: Any) -> Any:
    lanes = NamedSharding(batch.mesh, P(AXIS))
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=lanes), tree)


def compile_stage(batch: Batch, index: int) -> Any:
    """The compiled `advance_lanes` of a stage, from shapes alone."""
    search = search_shapes(batch, index)
    aims, ready = aim_shapes(batch, index), ready_for(batch, index, search)
    return advance_lanes.lower(ready, batch.recipes, aims, search, 1, CHUNK_STEPS, batch.mesh).compile()


def memory_budget(mesh: Mesh) -> int:
    """Bytes that a program may use on one device: 80 % of what the device, or the machine, has to give."""
    device = mesh.devices.flat[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return int(MEMORY_SHARE * (stats["bytes_limit"] - stats.get("bytes_in_use", 0)))
    pages, size = os.sysconf("SC_AVPHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return int(MEMORY_SHARE * pages * size / mesh.devices.size)
