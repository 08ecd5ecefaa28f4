"""MatConvNet .mat files → arrays, by SciPy's reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def read_mat(path: Path) -> dict[str, np.ndarray]:
    """The convolutions of a cell `layers` of structs with `name` and `weights` (older: `filters`, `biases`).

    Raises:
      ValueError: there is no such cell. On damaged bytes SciPy raises other errors, too.
    """
    from scipy.io import loadmat

    content = loadmat(path, variable_names=["layers"], struct_as_record=False)
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
