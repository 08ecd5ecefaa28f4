"""How many lanes run at once: as many as pay, and as fit into memory."""

from __future__ import annotations

from collections.abc import Sequence

from jax.sharding import Mesh

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.references import References
from jaxstyle.sweeps.program import place
from jaxstyle.transfer.inputs import stage_shape
from jaxstyle.transfer.layout import lane_mesh
from jaxstyle.transfer.memory import largest_stage, memory_budget
from jaxstyle.transfer.program import memory_needed
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
    program = batch.program(largest_stage(recipes[0], references[0]), shapes=True)
    return memory_needed(next(program.compiled()))
