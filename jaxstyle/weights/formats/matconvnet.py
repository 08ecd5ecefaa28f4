"""MatConvNet .mat files → arrays, by SciPy's reader."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from jaxstyle.weights.formats.bounds import MOST_IN_ALL

HEADER, COMPRESSED, CHUNK = 128, 15, 1 << 20
MOST_BYTES = 4 * MOST_IN_ALL


def read_mat(path: Path) -> dict[str, np.ndarray]:
    """The convolutions of a cell `layers` of structs with `name` and `weights` (older: `filters`, `biases`).

    Raises:
      ValueError: there is no such cell, or it unpacks to more than any network here. On damaged bytes SciPy
        raises other errors, too.
    """
    from scipy.io import loadmat

    with path.open("rb") as file:
        check_unpacked(file)
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


def check_unpacked(file: BinaryIO) -> None:
    """Raise if the compressed variables of a MAT 5 file would take more memory than any network here; SciPy
    unpacks a variable before it looks at it.

    Raises:
      ValueError: they would.
    """
    order = ">" if file.read(HEADER)[126:128] == b"MI" else "<"
    unpacked = 0
    while len(tag := file.read(8)) == 8:
        kind, size = struct.unpack(f"{order}II", tag)
        if kind != COMPRESSED:
            file.seek(size, 1)
            continue
        stream, left = zlib.decompressobj(), size
        while left > 0 and (data := file.read(min(left, CHUNK))):
            left -= len(data)
            while data:
                unpacked += len(stream.decompress(data, CHUNK))
                data = stream.unconsumed_tail
                if unpacked > MOST_BYTES:
                    raise ValueError("unpacks to more than any network here")
