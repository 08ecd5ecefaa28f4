"""How long a sweep takes, against the same runs one after the other on the command line.

    python scripts/benchmark_sweep.py PHOTO PAINTING --weights NAME [--size 128] [--steps 100] [--lanes 16]

Each single run is a process of its own, as a person would start it: first with an empty cache of compiled
programs each time, then (`--warm N` of them) with one that the runs before have filled. The sweep is one
process with an empty cache. All do the same steps of the same recipe. Prints one line of JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def timed(arguments: list[str], cache: Path) -> float:
    """Wall seconds of one command."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "jaxstyle.cli", *arguments], check=True,
                   env={**os.environ, "JAXSTYLE_CACHE": str(cache)}, stderr=subprocess.DEVNULL)
    took = time.perf_counter() - began
    print(f"{arguments[0]} {took:.1f} s", file=sys.stderr, flush=True)
    return took


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("photo")
    parser.add_argument("painting")
    parser.add_argument("--weights", default="random")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--singles", type=int, help="time so many single runs only, and scale")
    parser.add_argument("--warm", type=int, default=3)
    given = parser.parse_args()
    common = ["--recipe", "gatys-2015", "--solver", "ArmijoLbfgs", "--size", str(given.size), "--steps",
              str(given.steps), "--weights", given.weights]
    pictures = [given.photo, given.painting]
    weights = [f"{10 ** (1 + 4 * i / (given.lanes - 1)):.6g}" for i in range(given.lanes)]
    singles = given.singles or given.lanes
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        sweep = timed(["sweep", *pictures, "-o", str(root / "sweep"), "--vary",
                       f"terms.style.weight={','.join(weights)}", *common], root / "cache-sweep")
        cold = [timed(["stylize", *pictures, "-o", str(root / f"{i}.png"), "--terms.style.weight", weight,
                       *common], root / f"cache{i}") for i, weight in enumerate(weights[:singles])]
        warm = [timed(["stylize", *pictures, "-o", str(root / f"w{i}.png"), "--terms.style.weight", weight,
                       *common], root / "cache0") for i, weight in enumerate(weights[: given.warm])]
    scaled = sum(cold) / len(cold) * given.lanes
    print(json.dumps({
        **vars(given), "sweep_s": round(sweep, 1), "singles_s": round(scaled, 1),
        "single_s": round(sum(cold) / len(cold), 1), "ratio": round(sweep / scaled, 3),
        "warm_single_s": round(sum(warm) / len(warm), 1),
        "ratio_warm": round(sweep / (sum(warm) / len(warm) * given.lanes), 3),
    }))


if __name__ == "__main__":
    main()
