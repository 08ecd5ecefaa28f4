"""One variant of the rows of scripts/benchmark.py whose measure is a whole command, start and all.

Usage: python -m benchmarks.runs ROW SIZE PRECISION FORM [--steps N] [--lanes N] [--weights NAME]
[--torch-python P].
Row `stylize`: `jaxstyle stylize` with recipe `gatys-2015` from the photo and solver `ArmijoLbfgs`, so N steps
are N + 1 evaluations; FORM "cold" (empty cache of compiled programs), "warm" (filled by a run before),
"first step" (warm, until the picture after the first step is there), "torch nchw" or "torch channels-last" (a
plain script with as many evaluations). Row `sweep-command`: seconds per lane of FORM "sweep" (one
`jaxstyle sweep`, cold), or of `jaxstyle stylize` for each lane, "cold" or "warm".
CPU seconds and peak memory are those of the command.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import common


class Job(NamedTuple):
    """What is measured, and the folder it happens in."""

    row: str
    size: int
    precision: str
    form: str
    steps: int
    lanes: int
    weights: str
    torch_python: str
    folder: Path


def write_inputs(job: Job) -> None:
    """Pictures for both sides, and random weights in both formats; the same numbers."""
    from benchmarks.evaluations import raw_weights
    from jaxstyle import save
    from jaxstyle.weights.store import write_weights

    for seed, name in ((1, "photo"), (2, "painting")):
        picture = common.picture(job.size, seed)
        save(job.folder / f"{name}.png", picture)
        np.save(job.folder / f"{name}.npy", picture)
    write_weights(job.folder / "weights.safetensors", raw_weights(), "vgg19")
    np.savez(job.folder / "weights.npz", **common.vgg_kernels())


def command(job: Job, style_weight: float | None = None) -> list[str]:
    """The command of a measurement; a sweep's lanes differ in the weight of the style."""
    if job.form.startswith("torch"):
        return [job.torch_python, "-m", "benchmarks.torch_searches", "stylize", str(job.size),
                job.precision, job.form.split()[1], "--folder", str(job.folder), "--steps", str(job.steps)]
    weights = job.weights if job.weights != "random" else str(job.folder / "weights.safetensors")
    common_part = [*(str(job.folder / f"{name}.png") for name in ("photo", "painting")),
                   "--recipe", "gatys-2015", "--solver", "ArmijoLbfgs", "--start.noise", "0",
                   "--precision", job.precision, "--size", str(job.size), "--steps", str(job.steps),
                   "--weights", weights]
    program = [sys.executable, "-m", "jaxstyle.cli.main"]
    if job.form == "sweep":
        values = ",".join(f"{weight:.6g}" for weight in common.style_weights(job.lanes))
        return [*program, "sweep", *common_part, "-o", str(job.folder / "sweep"),
                "--vary", f"terms.style.weight={values}"]
    more = [] if style_weight is None else ["--terms.style.weight", f"{style_weight:.6g}"]
    more += ["--every", "1"] if job.form == "first step" else []
    return [*program, "stylize", *common_part, "-o", str(job.folder / "out.png"), "--force", *more]


def measured(job: Job, cache: Path, style_weight: float | None = None) -> tuple[common.Measured, str]:
    """Runs the command once; what it took, and what it printed.

    Raises:
      SystemExit: it failed.
    """
    first = job.folder / "out-00001.png"
    first.unlink(missing_ok=True)
    with open(job.folder / "log", "w+") as log:
        began = time.perf_counter()
        child = subprocess.Popen(command(job, style_weight), stdout=log, stderr=log,
                                 env={**os.environ, "JAXSTYLE_CACHE": str(cache)})
        if job.form == "first step":
            while not first.exists() and child.poll() is None:
                time.sleep(0.002)
            wall = time.perf_counter() - began
            child.kill()
        _, status, usage = os.wait4(child.pid, 0)
        if job.form != "first step":
            wall = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        printed = log.read()
    if child.returncode not in (0, -9) or (job.form == "first step" and not first.exists()):
        raise SystemExit(f"{' '.join(child.args)}: {printed}")  # type: ignore[arg-type]
    return common.Measured(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, {}), printed


def outcome(job: Job, printed: str) -> dict[str, float]:
    """Loss, steps and evaluations of a finished run."""
    if job.form.startswith("torch"):
        return json.loads(printed.splitlines()[-1])
    from jaxstyle.runs.replay import read_manifest

    record = read_manifest(job.folder / "out.png")
    return {"loss": record["loss"], "steps": record["steps"], "evaluations": record["steps"] + 1}


def prepare(job: Job) -> tuple:
    """Up to one run that is not measured, to fill the cache or for the number to compare; then the rest."""
    write_inputs(job)
    numbers, lanes = itertools.count(), itertools.cycle(common.style_weights(job.lanes))

    def cache() -> Path:
        return job.folder / f"cache{next(numbers) if job.form in ('cold', 'sweep') else ''}"

    def single() -> common.Measured:
        found, printed = measured(job, cache(), next(lanes) if job.row == "sweep-command" else None)
        return found if job.form == "first step" else found._replace(extra=outcome(job, printed))

    def sweep() -> common.Measured:
        found, _ = measured(job, cache())
        shutil.rmtree(job.folder / "sweep")
        return found._replace(wall=found.wall / job.lanes, cpu=found.cpu / job.lanes)

    if job.form == "sweep" or (job.row, job.form) == ("sweep-command", "cold"):
        return (sweep if job.form == "sweep" else single), 0, 0.0, None
    first = single()
    return single, 0, 0.0, first.extra.get("loss") if job.row == "stylize" else None


def main() -> None:
    """Serve the variant that the arguments name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("row", choices=["stylize", "sweep-command"])
    parser.add_argument("size", type=int)
    parser.add_argument("precision")
    parser.add_argument("form")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--weights", default="random")
    parser.add_argument("--torch-python", default=sys.executable)
    given = vars(parser.parse_args())
    with tempfile.TemporaryDirectory() as folder:
        common.serve(lambda: prepare(Job(**given, folder=Path(folder))))


if __name__ == "__main__":
    main()
