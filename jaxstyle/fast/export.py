"""A model as a program of other systems, StableHLO or ONNX, read back in another process and compared."""

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
from jaxstyle.fast.network import MULTIPLE, stylized, transformed

SIZES = {".stablehlo": ((64, 48), (52, 96)), ".onnx": ((64, 48), (52, 96), (37, 50))}
"""Heights and widths that programs are compared at."""
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
    ".onnx": """
import sys, pathlib, numpy as np, onnxruntime
program = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
for path in sorted(pathlib.Path(sys.argv[2]).glob("in-*.npy")):
    image = np.load(path).transpose(2, 0, 1)[None]
    (result,) = program.run(None, {program.get_inputs()[0].name: image})
    np.save(path.with_name(path.name.replace("in-", "out-")), result[0].transpose(1, 2, 0))
""",
}


def exported(model: Model, share: Array, path: str | os.PathLike[str], overwrite: bool = True) -> float:
    """Write a model with fixed shares of its styles as a program from an image to an image, in [0, 1].

    A `.stablehlo` file takes `[H, W, 3]`, height and width symbolic multiples of 4; an `.onnx` file takes
    `[1, 3, H, W]` of any height and width from 8 on. It is read back in a fresh process and compared.

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
    data = (_stablehlo if path.suffix == ".stablehlo" else _onnx)(model, share)
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / path.name
        trial.write_bytes(data)
        difference = compared(run, trial, Path(folder))
    if not difference <= TOLERANCE:
        raise JaxstyleError(f"{path}: the exported program differs from the model by {difference:.2g}; "
                            "nothing was written")
    write_whole(path, data, overwrite)
    return difference


def _program(model: Model, share: Array, network: Any = stylized) -> Any:
    """The network with its numbers inside, in [0, 1]."""
    params, statistics = jax.tree.map(np.asarray, (model.params, model.statistics))

    def run(image: Array) -> Array:
        return jnp.clip(network(model.network, params, image, share, statistics), 0, 1)

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


def _stablehlo(model: Model, share: Array) -> bytes:
    run = _program(model, share, transformed)
    # Reflection needs sides longer than its four pixels, also at a quarter of the size.
    h, w = export.symbolic_shape("h, w", constraints=("h >= 4", "w >= 4"))
    shape = jax.ShapeDtypeStruct((MULTIPLE * h, MULTIPLE * w, 3), jnp.float32)
    return bytes(export.export(jax.jit(_plain(run)), platforms=("cpu", "cuda", "tpu"))(shape).serialize())


def _onnx(model: Model, share: Array) -> bytes:
    from jaxstyle.fast.onnx_graph import onnx_program  # needs a package that only exporting asks for

    return onnx_program(model, share)


def compared(run: Any, path: Path, folder: Path) -> float:
    """Greatest difference between the function here and the program in a file, run by a fresh process.

    Raises:
      JaxstyleError: the process failed.
    """
    generator = np.random.default_rng(0)
    sizes = SIZES[path.suffix]
    for i, size in enumerate(sizes):
        np.save(folder / f"in-{i}.npy", generator.random((*size, 3), np.float32))
    done = subprocess.run([sys.executable, "-c", READERS[path.suffix], str(path), str(folder)],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        raise JaxstyleError(f"{path.name}: cannot be read back: {done.stderr.strip().splitlines()[-1:]}")
    here = jax.jit(run)
    return max(float(np.max(np.abs(np.asarray(here(np.load(folder / f"in-{i}.npy")))
                                   - np.load(folder / f"out-{i}.npy")))) for i in range(len(sizes)))
