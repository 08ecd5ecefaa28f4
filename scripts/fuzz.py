#!/usr/bin/env python3
"""Attacks every command and every file that is read back: damaged bytes, edited JSON, nonsense, odd names.

    python scripts/fuzz.py --cases 1000 --seconds 600 --seed 0

A case passes if the command ends with 0 or with 2 and one clear line, in time, leaves no half-written file,
and leaves the files that it was given as they were. What comes after the checks, the run itself, is left out.
Prints what each failing case was (it can be repeated with --seed and --only) and the numbers.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import jax

from fuzzing.attempt import attempt
from fuzzing.cases import KINDS
from fuzzing.place import Place

SLOW_SECONDS = 15


def fuzz(cases: int, seconds: float, seed: int, only: str = "") -> tuple[Counter, list[str]]:
    """Runs cases until there are enough or time is up; gives counts by kind, and the failures in words."""
    counts, failures, began = Counter(), [], time.monotonic()
    kinds = [kind for kind in KINDS if only in ("", kind.__name__)]
    home = Path(tempfile.mkdtemp(prefix="jaxstyle-fuzz-"))
    for number in range(cases):
        if time.monotonic() - began > seconds:
            break
        rng, kind = random.Random(f"{seed} {number}"), kinds[number % len(kinds)]
        with tempfile.TemporaryDirectory() as folder:
            place = Place(Path(folder), home)
            arguments = kind(rng, place)
            started = time.monotonic()
            if problem := attempt(arguments, place):
                failures.append(f"case {number} ({kind.__name__}): {arguments!r}\n    {problem}")
        counts[kind.__name__] += 1
        if (took := time.monotonic() - started) > SLOW_SECONDS:
            print(f"case {number} ({kind.__name__}) took {took:.0f} s: {arguments}", flush=True)
    shutil.rmtree(home)
    return counts, failures


def main() -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", choices=["", *(kind.__name__ for kind in KINDS)])
    asked = parser.parse_args()
    os.environ["JAXSTYLE_OPS"] = "reference"  # plain operations, which compile fast
    jax.config.update("jax_disable_most_optimizations", True)
    began = time.monotonic()
    counts, failures = fuzz(asked.cases, asked.seconds, asked.seed, asked.only)
    print("\n".join(failures), flush=True)
    print(
        f"{counts.total()} cases in {time.monotonic() - began:.0f} s ({dict(counts)}): "
        f"{len(failures)} failures"
    )
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
