"""Time the compute engine: seconds, compilation, peak memory, against its plain form and PyTorch.

Every variant of a row runs in a process of its own; they take turns, one measurement each per round, so
that a ratio compares what ran side by side; CPU seconds are those of all threads. All variants of a row
must agree on a number (a loss with its gradient's norm, a mean score), else the run fails.

    scripts/benchmark.py --quick
    scripts/benchmark.py --full --compare torch --torch-python ~/torch/bin/python --markdown table.md
    scripts/benchmark.py --rows sweep --sizes 64 128 --lanes 8
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
from typing import Any

from benchmarks import common
from benchmarks.rows import BOTH, SCRIPTS, TOLERANCE, WORK, Commands, Row, rows, variants


def environment(changes: dict[str, str]) -> dict[str, str]:
    """That of workers: they find this package, and compute on the CPU."""
    paths = [str(SCRIPTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(paths), **changes}


def start(command: list[str], changes: dict[str, str]) -> subprocess.Popen:
    """A worker that waits for lines on its standard input."""
    return subprocess.Popen(command, env=environment(changes), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            text=True)


def answer(worker: subprocess.Popen) -> dict[str, float]:
    """The next line of a worker.

    Raises:
      SystemExit: it ended instead; its error is on the terminal.
    """
    line = worker.stdout.readline() if worker.stdout else ""
    if not line:
        raise SystemExit(f"{' '.join(map(str, worker.args))} failed")  # type: ignore[arg-type]
    return json.loads(line)


def measure(row: Row, commands: Commands, rounds: int) -> dict[str, Any]:
    """Let the variants of a row take turns.

    Raises:
      SystemExit: a variant failed, or they disagree on the result.
    """
    workers, results = {}, {}
    try:
        for name, (command, environment) in commands.items():
            workers[name] = start(command, environment)
            results[name] = {**answer(workers[name]), "wall": [], "cpu": [], "extra": {}}
        for _ in range(rounds):
            for name, worker in workers.items():
                time.sleep(0.1)  # the one before may still spin
                worker.stdin.write("\n")  # type: ignore[union-attr]
                worker.stdin.flush()  # type: ignore[union-attr]
                add(results[name], answer(worker))
    finally:
        for worker in workers.values():
            worker.stdin.close()  # type: ignore[union-attr]
            worker.wait()
    work = WORK[row.name]
    expected = results[work.own]["check"]
    tolerance = TOLERANCE[row.precision] if work.tolerance is None else work.tolerance
    for name, result in results.items():
        if result["check"] is not None and abs(result["check"] - expected) > tolerance * abs(expected):
            raise SystemExit(f"{row}: {name} computes {result['check']}, {work.own} {expected}")
    return results


def add(result: dict[str, Any], measured: dict[str, Any]) -> None:
    """One more measurement of a variant."""
    for clock in ("wall", "cpu"):
        result[clock].append(measured[clock])
    result["peak"] = max(result.get("peak", 0.0), measured["peak"])
    for name, value in measured["extra"].items():
        result["extra"].setdefault(name, []).append(value)


def ratio(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """Median, least and greatest of the paired ratios."""
    pairs = [a / b for a, b in zip(ours, theirs)]
    return statistics.median(pairs), min(pairs), max(pairs)


def besides(row: Row, result: dict[str, Any]) -> str:
    """The other numbers of a variant: arithmetic per second where it is known, medians of the rest."""
    found = [f"{spread(values)} {name}" for name, values in result["extra"].items()]
    if work := common.flops(row.name, row.size):
        found.append(f"{work / statistics.median(result['wall']) / 1e9:.0f} GFLOP/s")
    return "; ".join(found)


def spread(values: list[float]) -> str:
    """Median with least and greatest, if they differ visibly."""
    middle, low, high = (f"{f(values):.4g}" for f in (statistics.median, min, max))
    return middle if low == high else f"{middle} ({low}–{high})"


def table(measured: dict[Row, dict[str, Any]]) -> str:
    """Markdown; ratios are those of each row's `own` variant over each other one."""
    lines = ["| work | variant | seconds, median (least–most) | CPU seconds | compile, s "
             "| peak, MB | besides | ours / this (least–most) | the same in CPU seconds |",
             "|---|---|---|---|---|---|---|---|---|"]
    for row, results in measured.items():
        own = results[WORK[row.name].own]
        for name, result in results.items():
            seconds = statistics.median(result["wall"])
            digits = 3 if seconds > 0.03 else 4
            cells = [str(row), name, f"{seconds:.{digits}f} ({min(result['wall']):.{digits}f}–"
                     f"{max(result['wall']):.{digits}f})", f"{statistics.median(result['cpu']):.{digits}f}",
                     f"{result['compile']:.1f}", f"{result['peak']:.0f}", besides(row, result)]
            for clock in ("wall", "cpu"):
                middle, low, high = ratio(own[clock], result[clock])
                other = result is own or (result["check"] is None and own["check"] is not None)
                cells.append("" if other else f"{middle:.2f} ({low:.2f}–{high:.2f})")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What was measured on, with its measured peaks."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    cpu = {key.strip(): value.strip() for key, value in fields.items()}
    flags = cpu.get("flags", "").split()
    peaks = subprocess.run([sys.executable, "-m", "benchmarks.evaluations", "peaks"],
                           check=True, capture_output=True, text=True, env=environment({})).stdout
    import jax
    return {
        "cpu": cpu.get("model name", platform.processor()), "family": cpu.get("cpu family", ""),
        "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0], "jax": jax.__version__,
        "flags": [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in flags],
        **json.loads(peaks),
    }


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", nargs="+", choices=["all", *WORK], default=["all"])
    parser.add_argument("--full", action="store_true", help="every size of each row, not the first only")
    parser.add_argument("--sizes", nargs="+", type=int, help="for all rows, instead of their own")
    parser.add_argument("--precisions", nargs="+", choices=BOTH, help="for all rows, instead of their own")
    parser.add_argument("--rounds", type=int, help="of all rows, instead of their own")
    parser.add_argument("--quick", action="store_true", help="Gatys at 128 pixels, three rounds")
    parser.add_argument("--compare", choices=["torch"])
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter that has torch")
    parser.add_argument("--plain", action="store_true", help="measure the plain operations, too")
    parser.add_argument("--steps", type=int, default=100, help="of the runs that are whole commands")
    parser.add_argument("--variants", nargs="+", default=[""], metavar="TEXT", help="only those whose name "
                        "contains one of these, and the one that ratios are of")
    parser.add_argument("--lanes", type=int, default=16, help="of sweeps")
    parser.add_argument("--weights", default="random", help="network of row sweep-command")
    parser.add_argument("--cores", type=int, help="run everything on so many cores only; on a busy "
                        "machine take 1 and compare CPU seconds")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.rows, options.sizes, options.rounds = ["gatys"], [128], 3
    return options


def main() -> None:
    """Measure, print the table, write files."""
    options = arguments()
    if options.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:options.cores])
    described = machine()
    print(json.dumps(described), flush=True)
    measured = {}
    for row in rows(options):
        rounds = options.rounds or WORK[row.name].rounds
        chosen = {name: command for name, command in variants(row, options).items()
                  if name == WORK[row.name].own or any(text in name for text in options.variants)}
        measured[row] = measure(row, chosen, rounds)
        print(table({row: measured[row]}), flush=True)
        described["load after"] = os.getloadavg()[0]
        if options.json:
            data = {"machine": described, "rows": {str(row): value for row, value in measured.items()}}
            options.json.write_text(json.dumps(data, indent=1))
        if options.markdown:
            options.markdown.write_text(f"{json.dumps(described)}\n\n{table(measured)}\n")

