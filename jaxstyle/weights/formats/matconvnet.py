"""The convolutions of a MatConvNet .mat file → a NumPy archive; run as a program of its own.

SciPy's reader is compiled code that a damaged file can crash: here it takes only this process along.

    python matconvnet.py SOURCE.mat TARGET.npz
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import scipy.io

MOST_BYTES = 6 * 2**30  # the published VGG-19 unpacks to 550 MB, and is held twice


def convolutions(path: str) -> dict[str, Any]:
    """Arrays of a cell `layers` of structs with `name` and `weights` (older: `filters`, `biases`).

    Raises:
      ValueError: there is no such cell.
    """
    content = scipy.io.loadmat(path, variable_names=["layers"], struct_as_record=False)
    if "layers" not in content:
        raise ValueError("no variable 'layers'")
    found = {}
    for cell in content["layers"].reshape(-1):
        layer = cell.reshape(-1)[0] if isinstance(cell, np.ndarray) else cell
        name = str(np.asarray(getattr(layer, "name", "")).reshape(-1)[0])
        if hasattr(layer, "weights") and layer.weights.size >= 2:
            parts = layer.weights.reshape(-1)[:2]
        elif hasattr(layer, "filters"):
            parts = (layer.filters, layer.biases)
        else:
            continue
        found[f"{name}/weight"], found[f"{name}/bias"] = parts
    return {name: np.asarray(part, np.float32) for name, part in found.items() if name.startswith("conv")}


def limit_memory() -> None:
    """Keep a file that unpacks to more than any network from taking the whole machine (POSIX only)."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))


if __name__ == "__main__":
    limit_memory()
    try:
        np.savez(sys.argv[2], **convolutions(sys.argv[1]))
    except Exception as error:  # whatever it is, the calling process turns it into one line
        sys.exit((str(error).splitlines() or [type(error).__name__])[0])
