"""A CPU shown to JAX as several devices, so that lanes of a sweep run side by side."""

from __future__ import annotations

import jax

from jaxstyle.errors import JaxstyleError


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
