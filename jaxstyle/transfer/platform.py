"""A CPU shown to JAX as several devices, so that lanes of a sweep run side by side."""

from __future__ import annotations

import os

import jax

from jaxstyle.errors import JaxstyleError
from jaxstyle.weights.store import cache_dir

PAYING = 2
"""Devices that paid on two cores (docs/sweeps.md); more were not measured."""
FLAG = "xla_force_host_platform_device_count"


def use_host_devices(count: int | None = None) -> None:
    """Shows the CPU as so many devices; other platforms are left as they are.

    Args:
      count: None: as many as pay, unless JAX has computed something already or the environment says another
        number: then they stay as they are, which changes no result.

    Raises:
      JaxstyleError: not a positive number, or JAX has computed something already.
    """
    if count is not None and count < 1:
        raise JaxstyleError("a CPU counts as at least 1 device", "host_devices")
    if count is None and FLAG in os.environ.get("XLA_FLAGS", ""):
        return
    try:
        jax.config.update("jax_num_cpu_devices", min(PAYING, os.cpu_count() or 1) if count is None else count)
    except RuntimeError:
        if count is not None:
            raise JaxstyleError(f"{count} devices were asked for, but JAX already runs with "
                                f"{jax.local_device_count()}; start the run in a process of its own",
                                "host_devices") from None


def use_compilation_cache() -> None:
    """Keep compiled programs under the user's cache folder, so that the second run starts at once."""
    jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
