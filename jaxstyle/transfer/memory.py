"""How much memory a run takes, which its compiled programs say before it runs, and recipes that take less."""

from __future__ import annotations

import ctypes
import math
import os
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax

from jaxstyle.backbones import VGG
from jaxstyle.backbones.bands import bands_of
from jaxstyle.backbones.perceptual import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.pytrees import replace
from jaxstyle.references import References
from jaxstyle.transfer.inputs import sized, stage_shape
from jaxstyle.transfer.layout import ALONE, Devices, Layout
from jaxstyle.transfer.objective import layers_of
from jaxstyle.transfer.program import Program, network_for
from jaxstyle.transfer.recipe import Recipe

MEMORY_SHARE = 0.8
PROCESS = 550 * 2**20
"""What Python, JAX and its compiler hold in a process on a CPU (docs/benchmarks.md, Memory)."""
LEAST_ROWS, LEAST_HISTORY = 32, 3
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}


def parse_size(text: str) -> int:
    """Bytes of a text such as "800MB", "2 GB" (powers of 1000) or "1.5GiB" (powers of 1024).

    Raises:
      JaxstyleError: it is none, or zero.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]I?)?B?\s*", text.upper())
    size = int(float(found[1]) * UNITS[found[2] or ""]) if found else 0
    if not size:
        raise JaxstyleError(f"memory is limited to a size such as 800MB, 2GB or 1.5GiB, not '{text}'",
                            "max_memory")
    return size


def mebibytes(size: float) -> str:
    """A number of bytes for people: "1,234 MiB"."""
    return f"{size / 2**20:,.0f} MiB"


def largest_stage(recipe: Recipe, references: References) -> int:
    """Index of the stage with the largest image."""
    def pixels(index: int) -> int:
        height, width = stage_shape(references, recipe.stages[index])
        return height * width

    return max(range(len(recipe.stages)), key=pixels)


def memory_to_run(weights: Weights, references: References, recipe: Recipe, devices: Devices = (),
                  budget: float = math.inf) -> int:
    """Bytes that the programs of the largest stage hold on each device while they run.

    Compiles them from shapes (running the recipe then finds them ready), and computes nothing. The first that
    needs more than `budget` ends it.
    """
    stage = largest_stage(recipe, references)
    needed = program_shapes(weights, references, recipe, stage, Layout(rows=devices)).memory(budget)
    trim()
    return needed


def program_shapes(weights: Weights, references: References, recipe: Recipe, stage: int,
                   layout: Layout = ALONE) -> Program:
    """The program of a stage, made from shapes."""
    resize = partial(sized, stage=recipe.stages[stage], style_scale=recipe.style_scale)
    given = jax.eval_shape(resize, references)
    return Program(network_for(weights, recipe), given, recipe, stage, layout)


def trim() -> None:
    """Give the memory that the compiler has freed, hundreds of megabytes, back to the system (glibc only)."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def held(device: jax.Device, references: Any) -> int:
    """Bytes that a process holds beside its programs where these run: on a CPU Python, the compiler and the
    images of `references` (any pytree), elsewhere nothing."""
    images = {id(image): image.nbytes for image in jax.tree.leaves(references)}
    return PROCESS + sum(images.values()) if device.platform == "cpu" else 0


def memory_budget(devices: Sequence[jax.Device], limit: int | None = None, references: Any = None) -> int:
    """Bytes that programs may take on each of the devices.

    Args:
      limit: bytes to stay within: on a CPU those of the process, on accelerators those of each device.
        None: 80 % of what the device, or the machine, has left.
      references: see `held`.
    """
    device = devices[0]
    if device.platform == "cpu":
        free = int(MEMORY_SHARE * machine_memory()) if limit is None else limit - held(device, references)
        return free // len(devices)
    if limit is None:
        stats = device.memory_stats() or {}
        limit = int(MEMORY_SHARE * (stats.get("bytes_limit", 0) - stats.get("bytes_in_use", 0)))
    return limit or int(MEMORY_SHARE * machine_memory()) // len(devices)


def machine_memory() -> int:
    """Bytes that programs can still get from this machine, or from the container that it is."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = re.search(r"MemAvailable:\s*(\d+) kB", meminfo.read_text())
    left = int(found[1]) * 1024 if found else os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(left, container_memory())


def container_memory(group: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes left below the limit of a Linux control group; beyond any machine's if it has none."""
    try:
        most, used = ((group / name).read_text() for name in ("memory.max", "memory.current"))
        cached = re.search(r"^inactive_file (\d+)", (group / "memory.stat").read_text(), re.M)
        return max(0, int(most) - int(used) + int(cached[1] if cached else 0))
    except (OSError, ValueError):  # no such files, or "max"
        return 2**62


def smaller(weights: Weights, references: References, recipe: Recipe) -> Recipe | None:
    """The recipe that needs less memory at the least cost: fewer rows at a time, which takes longer, and then
    a shorter L-BFGS history, which changes the result; None if nothing is left."""
    height, width = stage_shape(references, recipe.stages[largest_stage(recipe, references)])
    rows = recipe.rows or height
    while isinstance(weights.network, VGG) and rows > LEAST_ROWS:
        rows = max(LEAST_ROWS, rows // 2)
        image: Any = jax.ShapeDtypeStruct((height, width, 3), "float32")
        if (cut := bands_of(weights, image, layers_of(recipe.terms), rows)).window < cut.height:
            return replace(recipe, {"rows": rows})
    history = getattr(recipe.solver, "history", 0)
    if history > LEAST_HISTORY:
        return replace(recipe, {"solver.history": max(LEAST_HISTORY, history // 2)})
    return None


def fitting(weights: Weights, references: References, recipe: Recipe, budget: int, devices: Devices = ()
            ) -> tuple[Recipe, int]:
    """The recipe if it fits into `budget` bytes (on each device), else the first of `smaller` that does.

    Returns:
      Also what it needs.

    Raises:
      JaxstyleError: none fits.
    """
    if (least := least_memory(references, recipe)) > budget:  # known without compiling anything
        raise does_not_fit(least, budget)
    while (needed := memory_to_run(weights, references, recipe, devices, budget)) > budget:
        less = None if devices else smaller(weights, references, recipe)
        if less is None:
            raise does_not_fit(needed, budget)
        recipe = less
    return recipe, needed


def least_memory(references: References, recipe: Recipe) -> int:
    """Bytes that no form of the recipe can do without: picture, gradient, best and first image, and what the
    solver remembers of earlier steps (its shortest history)."""
    height, width = stage_shape(references, recipe.stages[largest_stage(recipe, references)])
    pairs = min(LEAST_HISTORY, getattr(recipe.solver, "history", 0))
    return (4 + 2 * pairs) * height * width * 3 * 4


def does_not_fit(needed: int, budget: int) -> JaxstyleError:
    """Says by how much."""
    left, more = max(0, budget), needed - max(0, budget)
    return JaxstyleError(f"this needs at least {mebibytes(needed)}, {mebibytes(more)} more than the "
                         f"{mebibytes(left)} that are left for it; use a smaller size, or allow more", "size",
                         "max_memory")


def changes(before: Recipe, after: Recipe) -> str:
    """What `smaller` has done to a recipe, in words; nothing if nothing."""
    said = []
    if after.rows != before.rows:
        said.append(f"{after.rows} rows at a time")
    old, new = (getattr(recipe.solver, "history", 0) for recipe in (before, after))
    if new != old:
        said.append(f"L-BFGS history {new} instead of {old}, which changes the result")
    return " and ".join(said)
