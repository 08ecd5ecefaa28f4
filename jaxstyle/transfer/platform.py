"""What is particular to the machine: a CPU shown to JAX as several devices, kept programs, bfloat16."""

from __future__ import annotations

import os
import re
from pathlib import Path

import jax

from jaxstyle.errors import JaxstyleError
from jaxstyle.weights.store import cache_dir

PAYING = 2
"""Devices that paid on two cores (docs/sweeps.md); more were not measured."""
FLAG = "xla_force_host_platform_device_count"
CPU_INFO = Path("/proc/cpuinfo")


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


def spare_the_only_thread() -> None:
    """Where there is one processor, programs run in the thread that asks for them: the only one that JAX has
    beside it would wait for itself where a program calls Python with large arrays, as SciPy's solver does."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if processors == 1:
        jax.config.update("jax_cpu_enable_async_dispatch", False)


def lacks_bfloat16(cpu_info: Path = CPU_INFO) -> bool:
    """Whether JAX computes on a processor that is known to have no (fast) products of bfloat16."""
    try:
        flags = re.search(r"^(flags|Features)\s*:(.*)$", cpu_info.read_text("ascii", "replace"), re.MULTILINE)
    except OSError:  # not Linux: nothing is known
        return False
    if jax.default_backend() != "cpu" or flags is None:
        return False
    return not {"avx512_bf16", "amx_bf16", "bf16"} & set(flags[2].split())
