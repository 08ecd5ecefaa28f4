"""How many lanes run at once: as many as pay, and as fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.references import References
from jaxstyle.solvers import Search
from jaxstyle.sweeps.program import (
    AXIS,
    Batch,
    advance_lanes,
    aim_lanes,
    begin_lanes,
    lane_mesh,
    place,
    ready_for,
)
from jaxstyle.transfer.inputs import stage_shape
from jaxstyle.transfer.memory import largest_stage, memory_budget, memory_needed
from jaxstyle.transfer.program import CHUNK_STEPS
from jaxstyle.transfer.recipe import Recipe

LOCK_STEP_PIXELS = 64 * 64
CPU_LANES, ACCELERATOR_LANES = 8, 64


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


def fitting_width(weights: Weights, references: Sequence[References], recipes: Sequence[Recipe], mesh: Mesh,
                  limit: int | None = None) -> int:
    """The default width, made smaller until the compiled program fits into the memory of a device.

    The program compiled here is the one that runs: a group is compiled once unless it did not fit.
    `limit` is that of `memory_budget`.
    """
    index = largest_stage(recipes[0], references[0])
    height, across = stage_shape(references[0], recipes[0].stages[index])
    width = default_width(len(recipes), height * across, mesh)
    budget = memory_budget(list(mesh.devices.flat), limit, references)
    while width > mesh.devices.size:
        needed = stage_memory(weights, references, recipes, width, mesh)
        if needed <= budget:
            break
        most = max(1, min(width // mesh.devices.size - 1, int(width / mesh.devices.size * budget / needed)))
        width = even_width(len(recipes), most, mesh)
    return width


def fitting_mesh(weights: Weights, references: Sequence[References], recipes: Sequence[Recipe], mesh: Mesh,
                 lanes: int | None = None, limit: int | None = None) -> Mesh:
    """The first devices of a mesh, no more than there are lanes; on a CPU, whose devices share its memory, no
    more than can run side by side within `limit` (see `memory_budget`).

    `lanes` are those on each device; None: as many as fit.
    """
    devices = list(mesh.devices.flat[: len(recipes)])
    while len(devices) > 1 and devices[0].platform == "cpu":
        mesh = lane_mesh(devices)
        width = (lanes or 0) * len(devices) or fitting_width(weights, references, recipes, mesh, limit)
        budget = memory_budget(devices, limit, references)
        if stage_memory(weights, references, recipes, width, mesh) <= budget:
            break
        devices = devices[: len(devices) // 2]
    return lane_mesh(devices)


def stage_memory(weights: Weights, references: Sequence[References], recipes: Sequence[Recipe], width: int,
                 mesh: Mesh) -> int:
    """Bytes that the compiled program of the largest stage takes on each device for `width` lanes."""
    batch = place(weights, references[:width], recipes[:width], width, mesh)
    return memory_needed(compile_stage(batch, largest_stage(recipes[0], references[0])))


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
    return advance_lanes.lower(ready, batch.recipes, aims, search, 1, capacity=CHUNK_STEPS,
                               mesh=batch.mesh).compile()
