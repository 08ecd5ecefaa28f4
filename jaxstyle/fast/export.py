"""A model as a program of other systems: StableHLO, read back in another process and compared."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, export

from jaxstyle.atomic import exists_already, write_whole
from jaxstyle.errors import JaxstyleError
from jaxstyle.fast.model import Model
from jaxstyle.fast.network import MULTIPLE, transformed

SIZES = ((64, 48), (52, 96))
"""Heights and widths that the programs are compared at."""
TOLERANCE = 1e-4
# What a fresh process runs: program, folder with inputs; it writes what came out beside each.
READERS = {
    ".stablehlo": """
import sys, pathlib, numpy as np
from jax import export
program = export.deserialize(bytearray(pathlib.Path(sys.argv[1]).read_bytes()))
for path in sorted(pathlib.Path(sys.argv[2]).glob("in-*.npy")):
    np.save(path.with_name(path.name.replace("in-", "out-")), np.asarray(program.call(np.load(path))))
""",
}


def exported(model: Model, share: Array, path: str | os.PathLike[str], overwrite: bool = True) -> float:
    """Write a model with fixed shares of its styles as a program from `[H, W, 3]` to `[H, W, 3]`.

    Height and width are symbolic multiples of 4. The file is read back in a fresh process and compared.

    Returns:
      The greatest difference from the model.

    Raises:
      JaxstyleError: an unknown kind of file, a missing package, a program that gives something else.
    """
    path = Path(path)
    if path.suffix not in READERS:
        raise JaxstyleError(f"{path}: unknown kind of program; use {' or '.join(READERS)}")
    if path.exists() and not overwrite:
        raise exists_already(path)
    run = _program(model, share)
    data = _stablehlo(run)
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / path.name
        trial.write_bytes(data)
        difference = compared(run, trial, Path(folder))
    if not difference <= TOLERANCE:
        raise JaxstyleError(f"{path}: the exported program differs from the model by {difference:.2g}; "
                            "nothing was written")
    write_whole(path, data, overwrite)
    return difference


def _program(model: Model, share: Array) -> Any:
    """The network with its numbers inside, for sides that 4 divides, in [0, 1]; plain operations only."""
    params, statistics = jax.tree.map(np.asarray, (model.params, model.statistics))

    def run(image: Array) -> Array:
        return jnp.clip(transformed(model.network, params, image, share, statistics), 0, 1)

    return run


def _plain(run: Any) -> Any:
    """Traced with the plain forms of all operations, which every platform knows."""
    def traced(image: Array) -> Array:
        before = os.environ.get("JAXSTYLE_OPS")
        os.environ["JAXSTYLE_OPS"] = "reference"
        try:
            run_image: Array = run(image)
            return run_image
        finally:
            if before is None:
                del os.environ["JAXSTYLE_OPS"]
            else:
                os.environ["JAXSTYLE_OPS"] = before

    return traced


def _stablehlo(run: Any) -> bytes:
    # Reflection needs sides longer than its four pixels, also at a quarter of the size.
    h, w = export.symbolic_shape("h, w", constraints=("h >= 4", "w >= 4"))
    shape = jax.ShapeDtypeStruct((MULTIPLE * h, MULTIPLE * w, 3), jnp.float32)
    return bytes(export.export(jax.jit(_plain(run)), platforms=("cpu", "cuda", "tpu"))(shape).serialize())


def compared(run: Any, path: Path, folder: Path) -> float:
    """Greatest difference between the function here and the program in a file, run by a fresh process.

    Raises:
      JaxstyleError: the process failed.
    """
    generator = np.random.default_rng(0)
    for i, size in enumerate(SIZES):
        np.save(folder / f"in-{i}.npy", generator.random((*size, 3), np.float32))
    done = subprocess.run([sys.executable, "-c", READERS[path.suffix], str(path), str(folder)],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        raise JaxstyleError(f"{path.name}: cannot be read back: {done.stderr.strip().splitlines()[-1:]}")
    here = jax.jit(run)
    return max(float(np.max(np.abs(np.asarray(here(np.load(folder / f"in-{i}.npy")))
                                   - np.load(folder / f"out-{i}.npy")))) for i in range(len(SIZES)))
