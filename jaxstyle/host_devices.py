"""A CPU shown to JAX as several devices, so that lanes of a sweep run side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence

import jax

from jaxstyle.errors import JaxstyleError
from jaxstyle.recipe import Recipe

# Longer side up to which a device per core pays; 0: never (docs/sweeps.md has the measurements).
LONGEST_SIDE = 0


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def devices_that_pay(recipes: Sequence[Recipe]) -> int:
    """One device per core if there are as many lanes and all their images are small, else one."""
    sides = [stage.size for recipe in recipes for stage in recipe.stages]
    small = all(side is not None and side <= LONGEST_SIDE for side in sides)
    return cores() if small and len(recipes) >= cores() else 1


def use_host_devices(count: int) -> None:
    """Shows the CPU as so many devices; other platforms are left as they are.

    Raises:
      JaxstyleError: not a positive number, or JAX has computed something already.
    """
    if count < 1:
        raise JaxstyleError("--host-devices takes a number of at least 1")
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:
        raise JaxstyleError(f"--host-devices {count}: JAX already runs with {jax.local_device_count()} "
                            "devices; start the command in a process of its own") from None
