"""What the rows of scripts/benchmark.py would take at the measured peaks of a machine, from their shapes.

    scripts/benchmark.py roofline [--json TABLE.json] [--rows gatys ...]

FLOPs are counted for the plain (direct) computation and as computed here (Winograd, sums along diagonals).
Bytes: the least (every input, weight and activation read once and written once, each way) and those of the
form computed here, as if nothing stayed in a cache. Seconds at the peaks: per part the longer of arithmetic
and traffic, added up; "least" with the least bytes, "as computed" with the others (which caches undercut);
the share is that of the latter in what was measured, "more of" what takes longer in it.
TABLE.json is what `benchmark.py --json` wrote: its peaks are used and its measured seconds shown; without it
the peaks are measured now.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.evaluations import peaks
from benchmarks.roofline_parts import Part, parts
from benchmarks.rows import BOTH, WORK, Row


def line(name: str, some: list[Part], machine: dict[str, float], precision: str, measured: float = 0.0
         ) -> str:
    """One row of the table."""
    fast, plain = (machine[f"{kind} GFLOP/s of one core"] * machine.get("cores", 1) * 1e9
                   for kind in (precision, "float32"))
    speed = max(machine["memory GB/s"], machine["memory GB/s of one core"]) * 1e9
    arithmetic = [p.flops / (fast if p.product else plain) for p in some]
    bounds = [sum(max(a, getattr(p, kind) / speed) for a, p in zip(arithmetic, some))
              for kind in ("least", "moved")]
    direct, computed, least, moved = (sum(getattr(p, kind) for p in some) / 1e9
                                      for kind in ("direct", "flops", "least", "moved"))
    by = "arithmetic" if sum(arithmetic) > moved * 1e9 / speed else "memory"
    share = f"{measured:.3f} ({bounds[1] / measured:.0%})" if measured else ""
    return (f"| {name} | {direct:.1f} | {computed:.1f} | {least:.2f} | {moved:.2f} | {sum(arithmetic):.3f} | "
            f"{bounds[0]:.3f} | {bounds[1]:.3f} | {share} | {by} |")


def main() -> None:
    """Print the table."""
    names = [name for name in WORK if common.flops(name, 256)]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, help="what benchmark.py --json wrote")
    parser.add_argument("--rows", nargs="+", choices=names, default=names)
    parser.add_argument("--parts", action="store_true", help="every part of each row, too")
    options = parser.parse_args()
    data: dict[str, Any] = {"machine": {"cores": len(os.sched_getaffinity(0))}, "rows": {}}
    if options.json:
        data = json.loads(options.json.read_text())
    else:
        data["machine"] |= peaks()
    print("| work | GFLOP, direct | as computed | GB, least | as computed | s, arithmetic | s, least bytes "
          "| s, as computed | measured (share) | more of |\n|---|---|---|---|---|---|---|---|---|---|")
    for name in options.rows:
        for row in (Row(name, size, precision) for precision in BOTH for size in WORK[name].sizes):
            results = data["rows"].get(str(row), {}).get(WORK[name].own)
            seconds = statistics.median(results["wall"]) if results else 0.0
            some = parts(row)
            print(line(str(row), some, data["machine"], row.precision, seconds))
            for part in sorted({p.name for p in some}) if options.parts else ():
                chosen = [p for p in some if p.name == part]
                print(line(f"· {part}", chosen, data["machine"], row.precision))

