"""What scripts/benchmark.py measures: rows, their sizes, and the programs that are their variants."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NamedTuple

SCRIPTS = Path(__file__).parents[1]
"""Where workers find the package `benchmarks`."""
TOLERANCE = {"float32": 2e-3, "bfloat16": 5e-2}
BOTH = tuple(TOLERANCE)
SOLVERS = ("ArmijoLbfgs", "Lbfgs", "OptaxLbfgs", "ScipyLbfgsb")


class Work(NamedTuple):
    """A kind of row: its sizes and precisions with --full, the variant that ratios are of, rounds.

    `unit`: what one measurement is divided by; `tolerance`: instead of the precision's.
    """

    sizes: tuple[int, ...]
    own: str = "jax"
    precisions: tuple[str, ...] = BOTH
    rounds: int = 7
    unit: str = ""
    tolerance: float | None = None


# `lbfgs` and `sweep` compare first losses (their geometric mean); `stylize` the last ones of searches that go
# different ways.
WORK = {
    "gatys": Work((256, 512, 1024), own="jax, 4 steps a call"),
    "stylize": Work((256,), "jaxstyle, warm cache", ("float32",), 3, "a whole run", 0.2),
    "lbfgs": Work((256,), "ArmijoLbfgs 10", ("float32",), 3, "a step"),
    "patches3": Work((256, 512)),
    "patches4": Work((256, 512)),
    "patch-term1": Work((256, 512), precisions=("float32",), rounds=3),
    "patch-term9": Work((256, 512), precisions=("float32",), rounds=3),
    "sweep": Work((64, 128, 256), "jaxstyle sweep's choice", ("float32",), 3, "a lane and step"),
    "sweep-command": Work((128,), "one jaxstyle sweep, cold cache", ("float32",), 2, "a lane, whole runs"),
    "fast-inference": Work((256, 512, 1024)),
    "fast-training": Work((256,)),
}


class Row(NamedTuple):
    """One piece of work; `name` decides what the workers do."""

    name: str
    size: int
    precision: str

    def __str__(self) -> str:
        unit = WORK[self.name].unit
        return f"{self.name} {self.size} {self.precision}{f' ({unit})' if unit else ''}"


def rows(options: argparse.Namespace) -> list[Row]:
    """All asked-for combinations; each row's own sizes and precisions where none are asked for."""
    found = []
    for name in WORK if "all" in options.rows else options.rows:
        work = WORK[name]
        sizes = options.sizes or (work.sizes if options.full else work.sizes[:1])
        found += [Row(name, size, precision) for size in sizes
                  for precision in options.precisions or work.precisions]
    return found


Commands = dict[str, tuple[list[str], dict[str, str]]]


def variants(row: Row, options: argparse.Namespace) -> Commands:
    """Command and environment of every variant of a row, ours first."""
    make = {"lbfgs": solver_variants, "sweep": sweep_variants, "stylize": run_variants,
            "sweep-command": run_variants}.get(row.name, call_variants)
    theirs = [options.torch_python] if options.compare else []
    return make(row, [row.name, str(row.size), row.precision], theirs, options)


def program(name: str) -> list[str]:
    """A program of ours."""
    return [sys.executable, "-m", name]


def call_variants(row: Row, arguments: list[str], theirs: list[str], options: argparse.Namespace) -> Commands:
    """Rows of one compiled function."""
    ours = [*program("benchmarks.evaluations"), *arguments]
    found = {"jax": ([*ours, "call"], {"JAXSTYLE_OPS": "fast"})}
    if row.name == "gatys":
        found["jax, 4 steps a call"] = ([*ours, "loop"], {"JAXSTYLE_OPS": "fast"})
    if options.plain and row.precision == "float32":
        found["jax, plain operations"] = ([*ours, "call"], {"JAXSTYLE_OPS": "reference"})
    if theirs:
        forms = {"patches": ("naive", "diagonal"), "patch-t": ("naive",)}.get(row.name[:7],
                                                                               ("nchw", "channels-last"))
        found |= {f"torch, {form}": ([*theirs, "-m", "benchmarks.torch_evaluations", *arguments, form], {})
                  for form in forms}
    return found


def solver_variants(row: Row, arguments: list[str], theirs: list[str], options: argparse.Namespace
                    ) -> Commands:
    """Every L-BFGS with two histories."""
    histories = (10, 50)
    found: Commands = {f"{name} {n}": ([*program("benchmarks.searches"), *arguments, f"{name} {n}"], {})
                       for name in SOLVERS for n in histories}
    if theirs:
        found |= {f"torch, {form} {n}": (
            [*theirs, "-m", "benchmarks.torch_searches", *arguments, f"{form} {n}"], {})
            for form in ("nchw", "channels-last") for n in histories}
    return found


def sweep_variants(row: Row, arguments: list[str], theirs: list[str], options: argparse.Namespace
                   ) -> Commands:
    """Lanes together, one by one, and on as many devices as there are cores.

    No option keeps a device to one thread (docs/sweeps.md); "on one core" is what such a device would do,
    and a machine of n cores at best n times that.
    """
    lanes = ["--lanes", str(options.lanes)]
    devices = f"--xla_force_host_platform_device_count={len(os.sched_getaffinity(0))}"
    fewer_threads = f"{devices} --xla_cpu_multi_thread_eigen=false"
    forms = {
        "jaxstyle sweep's choice": ("default", ""),
        "8 lanes in lock step": ("8", ""),
        "16 lanes in lock step": ("16", ""),
        "single runs": ("alone", ""),
        "one lane at a time": ("1", ""),
        "one lane at a time, on one core": ("1", ""),
        "a device per core": ("default", devices),
        "a device per core, fewer threads": ("default", fewer_threads),
    }
    found: Commands = {
        name: ([*program("benchmarks.searches"), *arguments, form, *lanes,
                *(["--cores", "1"] if name.endswith("on one core") else [])], {"XLA_FLAGS": flags})
        for name, (form, flags) in forms.items() if not form.isdigit() or int(form) <= options.lanes}
    if theirs:
        found |= {f"torch, {form}": (
            [*theirs, "-m", "benchmarks.torch_searches", *arguments, form, *lanes], {})
            for form in ("nchw", "channels-last")}
    return found


def run_variants(row: Row, arguments: list[str], theirs: list[str], options: argparse.Namespace) -> Commands:
    """Whole commands."""
    if row.name == "stylize":
        forms = {"jaxstyle, warm cache": "warm", "jaxstyle, cold cache": "cold",
                 "jaxstyle, warm cache, to the first step": "first step",
                 **({f"torch, {form}": f"torch {form}" for form in ("nchw", "channels-last")}
                    if theirs else {})}
    else:
        forms = {"one jaxstyle sweep, cold cache": "sweep", "jaxstyle stylize, cold cache": "cold",
                 "jaxstyle stylize, warm cache": "warm"}
    more = ["--steps", str(options.steps), "--lanes", str(options.lanes), "--weights", options.weights,
            *(["--torch-python", *theirs] if theirs else [])]
    return {name: ([*program("benchmarks.runs"), *arguments, form, *more], {})
            for name, form in forms.items()}
