"""What the rows of scripts/benchmark.py would take at the measured peaks of a machine, from their shapes.

    scripts/roofline.py [--json TABLE.json] [--rows gatys ...]

FLOPs are counted for the plain (direct) computation and as computed here (Winograd, sums along diagonals).
Bytes: the least (every input, weight and activation read once and written once, each way) and those of the
form computed here, as if nothing stayed in a cache. Seconds at the peaks: per part the longer of arithmetic
and traffic, added up; "least" with the least bytes, "as computed" with the others (which caches undercut).
TABLE.json is what `benchmark.py --json` wrote: its peaks are used and its measured seconds shown; without it
the peaks are measured now.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import benchmark_common as common
from benchmark_rows import BOTH, WORK, Row

from jaxstyle.ops.convolution import WINOGRAD_CHANNELS

BYTES = 4


class Part(NamedTuple):
    """Part of a computation: FLOPs of the direct form and as computed, least bytes and bytes as computed.

    `product`: whether bfloat16 makes its arithmetic faster.
    """

    name: str
    direct: float
    flops: float
    least: float
    moved: float
    product: bool = False


def conv(side: int, k: int, i: int, o: int, ways: str, *, stride: int = 1, up: int = 1, half: bool = False
         ) -> Iterator[Part]:
    """A convolution with bias and ReLU, `side` pixels out; ways: of "fgw" (forward, input, weights)."""
    before = side * stride // up
    x, y, w = BYTES * before**2 * i, BYTES * side**2 * o, BYTES * k * k * i * o
    direct = 2.0 * side**2 * k * k * i * o
    tiles = (-(-side // 2)) ** 2
    small = 2 if half else BYTES
    winograd = k == 3 and stride == up == 1 and max(i, o) >= WINOGRAD_CHANNELS <= 2 * min(i, o)
    for way in ways:
        least = x + y + w + (y if way == "g" else 0)  # the gradient of ReLU reads the output, too
        if winograd and way != "w":
            read, written = (i, o) if way == "f" else (o, i)
            yield Part("Winograd products", direct, 32.0 * tiles * i * o, least,
                       small * 16 * (tiles * read + i * o) + BYTES * 16 * tiles * written, product=True)
            yield Part("Winograd transforms", 0, tiles * (32.0 * read + 24.0 * written), 0,
                       least - w + 16 * tiles * (small * read + BYTES * written))
        else:
            name = "weight gradients" if way == "w" else f"direct convolutions {k}×{k}"
            yield Part(name, direct, direct, least, least)


def passed(name: str, flops: float, moved: float) -> Part:
    """Something that is computed in the plain form, without detours."""
    return Part(name, flops, flops, moved, moved)


def vgg(size: int, last: str, content: str, style: tuple[str, ...], back: bool, half: bool) -> Iterator[Part]:
    """VGG-19 with max pooling up to `last`, with terms on its features; `back`: and the image's gradient."""
    inputs, ways = 3, "fg" if back else "f"
    for block, widths in enumerate(common.VGG19, start=1):
        side = size >> (block - 1)
        for number, width in enumerate(widths, start=1):
            name, n = f"conv{block}_{number}", BYTES * side**2 * width
            yield from conv(side, 3, inputs, width, ways, half=half)
            inputs = width
            if name in style:
                product = 2.0 * side**2 * width**2
                yield passed("Gram matrices", 2 * product if back else product, 3 * n if back else n)
            if name == content:
                yield passed("content", 5.0 * side**2 * width, 3 * n)
            if name == last:
                return
        pooled = (1 + 1 / 4 + 1 / 16) * n
        yield passed("pooling", 2 * side**2 * inputs, 2 * pooled if back else pooled)


def network(size: int, ways: str, half: bool) -> Iterator[Part]:
    """The transformation network of Johnson et al., forward and for ways "fgw" its gradients."""
    side = size
    for name, k, i, o, stride, up in common.FAST_NETWORK:
        side = side * up // stride
        n = BYTES * side**2 * o
        yield from conv(side, k, i, o, ways.replace("g", "") if name == "c1" else ways, stride=stride, up=up,
                        half=half)
        if name != "out":  # instance norm reads and writes, its gradient reads two and writes one
            yield passed("norms, residuals", 8.0 * side**2 * o * len(ways), n * (2 if ways == "f" else 5))


def parts(row: Row) -> list[Part]:
    """What a row consists of."""
    size, half = row.size, row.precision == "bfloat16"
    if row.name == "gatys":
        return list(vgg(size, common.STYLE[-1], common.CONTENT, common.STYLE, True, half))
    if row.name == "fast-inference":
        return list(network(size, "f", half))
    if row.name == "fast-training":
        last = common.FAST_STYLE[-1]
        one = [*network(size, "fgw", half),
               *vgg(size, common.FAST_CONTENT, "", (), False, half),
               *vgg(size, last, common.FAST_CONTENT, common.FAST_STYLE, True, half)]
        return one * common.BATCH
    block = int(row.name[-1])
    side, channels = size >> (block - 1), {3: 256, 4: 512}[block]
    pixels, scores, given = side**2, float((side - 2) ** 4), BYTES * 2 * side**2 * channels
    pairs = float(pixels**2)
    return [Part("products of pixels", 18 * scores * channels, 2 * pairs * channels, given,
                 given + BYTES * pairs, product=True),
            Part("sums, maximum", 0, 2 * pairs + 4 * scores, 8 * pixels, BYTES * (3 * pairs + 2 * scores))]


def peaks(machine: dict[str, float], precision: str) -> tuple[float, float, float]:
    """FLOP/s of products and of the rest, bytes per second."""
    single = machine["float32 GFLOP/s"] * 1e9
    return machine[f"{precision} GFLOP/s"] * 1e9, single, machine["memory GB/s"] * 1e9


def line(name: str, some: list[Part], machine: dict[str, float], precision: str, measured: str = "") -> str:
    """One row of the table."""
    fast, plain, speed = peaks(machine, precision)
    arithmetic = [p.flops / (fast if p.product else plain) for p in some]
    bounds = [sum(max(a, getattr(p, kind) / speed) for a, p in zip(arithmetic, some))
              for kind in ("least", "moved")]
    direct, computed, least, moved = (sum(getattr(p, kind) for p in some) / 1e9
                                      for kind in ("direct", "flops", "least", "moved"))
    by = "arithmetic" if sum(arithmetic) > moved * 1e9 / speed else "memory"
    return (f"| {name} | {direct:.1f} | {computed:.1f} | {least:.2f} | {moved:.2f} | {sum(arithmetic):.3f} | "
            f"{bounds[0]:.3f} | {bounds[1]:.3f} | {measured} | {by} |")


def main() -> None:
    """Print the table."""
    names = [name for name in WORK if common.flops(name, 256)]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, help="what benchmark.py --json wrote")
    parser.add_argument("--rows", nargs="+", choices=names, default=names)
    parser.add_argument("--parts", action="store_true", help="every part of each row, too")
    options = parser.parse_args()
    if options.json:
        data = json.loads(options.json.read_text())
    else:
        command = [sys.executable, str(Path(__file__).parent / "benchmark_jax.py"), "peaks"]
        data = {"machine": json.loads(subprocess.run(
            command, check=True, capture_output=True, text=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu"}).stdout), "rows": {}}
    print("| work | GFLOP, direct | as computed | GB, least | as computed | s, arithmetic | s, least bytes "
          "| s, as computed | measured | bound by |\n|---|---|---|---|---|---|---|---|---|---|")
    for name in options.rows:
        for row in (Row(name, size, precision) for precision in BOTH for size in WORK[name].sizes):
            results = data["rows"].get(str(row), {}).get(WORK[name].own)
            seconds = f"{statistics.median(results['wall']):.3f}" if results else ""
            some = parts(row)
            print(line(str(row), some, data["machine"], row.precision, seconds))
            for part in sorted({p.name for p in some}) if options.parts else ():
                chosen = [p for p in some if p.name == part]
                print(line(f"· {part}", chosen, data["machine"], row.precision))


if __name__ == "__main__":
    main()
