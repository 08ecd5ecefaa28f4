#!/usr/bin/env python
"""Time the compute engine: seconds, compilation, peak memory, against its plain form and PyTorch.

Every variant of a row runs in a process of its own; they take turns, one measurement each per round, so
that a ratio compares what ran side by side; CPU seconds are those of all threads. All variants of a row
must agree on a number (a loss with its gradient's norm, a mean score), else the run fails.

    scripts/benchmark.py --quick
    scripts/benchmark.py --compare torch --torch-python ~/torch/bin/python --markdown table.md
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import benchmark_common as common

HERE = Path(__file__).parent
TOLERANCE = {"float32": 2e-3, "bfloat16": 5e-2}


class Row(NamedTuple):
    """One piece of work; `name` decides what the workers do."""

    name: str
    size: int
    precision: str

    def __str__(self) -> str:
        return f"{self.name} {self.size} {self.precision}"


def rows(names: list[str], sizes: list[int], precisions: list[str]) -> list[Row]:
    """All asked-for combinations; training has one size."""
    return [Row(name, size, precision) for name in names
            for size in ([256] if name == "fast-training" else sizes) for precision in precisions]


def variants(row: Row, torch_python: str | None, reference: bool) -> dict[str, tuple[list[str], dict]]:
    """Command and environment of every variant of a row, ours (fast) first."""
    arguments = [row.name, str(row.size), row.precision]
    ours = [sys.executable, str(HERE / "benchmark_jax.py"), *arguments]
    found = {"jax": ([*ours, "call"], {"JAXSTYLE_OPS": "fast"})}
    if row.name == "gatys":
        found["jax, 4 steps a call"] = ([*ours, "loop"], {"JAXSTYLE_OPS": "fast"})
    if reference and row.precision == "float32":
        found["jax, plain operations"] = ([*ours, "call"], {"JAXSTYLE_OPS": "reference"})
    if torch_python:
        theirs = [torch_python, str(HERE / "benchmark_torch.py"), *arguments]
        forms = ("naive", "diagonal") if "patches" in row.name else ("nchw", "channels-last")
        found |= {f"torch, {form}": ([*theirs, form], {}) for form in forms}
    return found


def start(command: list[str], environment: dict[str, str]) -> subprocess.Popen:
    """A worker that waits for lines on its standard input."""
    return subprocess.Popen(command, env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def answer(worker: subprocess.Popen) -> dict[str, float]:
    """The next line of a worker.

    Raises:
      SystemExit: it ended instead; its error is on the terminal.
    """
    line = worker.stdout.readline() if worker.stdout else ""
    if not line:
        raise SystemExit(f"{' '.join(map(str, worker.args))} failed")  # type: ignore[arg-type]
    return json.loads(line)


def measure(row: Row, commands: dict[str, tuple[list[str], dict]], rounds: int) -> dict[str, Any]:
    """Let the variants of a row take turns.

    Raises:
      SystemExit: a variant failed, or they disagree on the result.
    """
    workers, results = {}, {}
    try:
        for name, (command, environment) in commands.items():
            workers[name] = start(command, environment)
            results[name] = {**answer(workers[name]), "wall": [], "cpu": []}
        for _ in range(rounds):
            for name, worker in workers.items():
                time.sleep(0.1)  # the one before may still spin
                worker.stdin.write("\n")  # type: ignore[union-attr]
                worker.stdin.flush()  # type: ignore[union-attr]
                measured = answer(worker)
                results[name]["wall"].append(measured["wall"])
                results[name]["cpu"].append(measured["cpu"])
                results[name]["peak"] = measured["peak"]
    finally:
        for worker in workers.values():
            worker.stdin.close()  # type: ignore[union-attr]
            worker.wait()
    expected = results["jax"]["check"]
    for name, result in results.items():
        if abs(result["check"] - expected) > TOLERANCE[row.precision] * abs(expected):
            raise SystemExit(f"{row}: {name} computes {result['check']}, jax {expected}")
    return results


def ratio(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """Median, least and greatest of the paired ratios."""
    pairs = [a / b for a, b in zip(ours, theirs)]
    return statistics.median(pairs), min(pairs), max(pairs)


def table(measured: dict[Row, dict[str, Any]]) -> str:
    """Markdown; ratios are ours (in a loop, where that is measured) over each other variant."""
    lines = ["| work | variant | seconds, median (least–most) | CPU seconds | compile, s "
             "| peak, MB | GFLOP/s | ours / this (least–most) | the same in CPU seconds |",
             "|---|---|---|---|---|---|---|---|---|"]
    for row, results in measured.items():
        own = results.get("jax, 4 steps a call", results["jax"])
        for name, result in results.items():
            seconds = statistics.median(result["wall"])
            cells = [str(row), name,
                     f"{seconds:.3f} ({min(result['wall']):.3f}–{max(result['wall']):.3f})",
                     f"{statistics.median(result['cpu']):.3f}", f"{result['compile']:.1f}",
                     f"{result['peak']:.0f}", f"{common.flops(row.name, row.size) / seconds / 1e9:.0f}"]
            for clock in ("wall", "cpu"):
                middle, low, high = ratio(own[clock], result[clock])
                cells.append("" if result is own else f"{middle:.2f} ({low:.2f}–{high:.2f})")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What was measured on, with its measured peaks."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    cpu = {key.strip(): value.strip() for key, value in fields.items()}
    flags = cpu.get("flags", "").split()
    peaks = subprocess.run([sys.executable, str(HERE / "benchmark_jax.py"), "peaks"],
                           check=True, capture_output=True, text=True,
                           env={**os.environ, "JAX_PLATFORMS": "cpu"}).stdout
    import jax
    return {
        "cpu": cpu.get("model name", platform.processor()), "family": cpu.get("cpu family", ""),
        "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0], "jax": jax.__version__,
        "flags": [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in flags],
        **json.loads(peaks),
    }


def main() -> None:
    """Measure, print the table, write files."""
    names = ["gatys", "patches3", "patches4", "fast-inference", "fast-training"]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", nargs="+", choices=names, default=names)
    parser.add_argument("--sizes", nargs="+", type=int, default=[256, 512])
    parser.add_argument("--precisions", nargs="+", choices=list(TOLERANCE), default=list(TOLERANCE))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="Gatys at 128 pixels, three rounds")
    parser.add_argument("--compare", choices=["torch"])
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter that has torch")
    parser.add_argument("--plain", action="store_true", help="measure the plain operations, too")
    parser.add_argument("--cores", type=int, help="run everything on so many cores only; on a busy "
                        "machine take 1 and compare CPU seconds")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.rows, options.sizes, options.rounds = ["gatys"], [128], 3
    if options.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:options.cores])
    described = machine()
    print(json.dumps(described), flush=True)
    measured = {}
    for row in rows(options.rows, options.sizes, options.precisions):
        torch_python = options.torch_python if options.compare else None
        measured[row] = measure(row, variants(row, torch_python, options.plain), options.rounds)
        print(table({row: measured[row]}), flush=True)
    described["load after"] = os.getloadavg()[0]
    if options.json:
        data = {"machine": described, "rows": {str(row): value for row, value in measured.items()}}
        options.json.write_text(json.dumps(data, indent=1))
    if options.markdown:
        options.markdown.write_text(f"{json.dumps(described)}\n\n{table(measured)}\n")


if __name__ == "__main__":
    main()
