"""MatConvNet .mat files → arrays, by SciPy's reader."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from jaxstyle.weights.formats.bounds import MOST_IN_ALL

HEADER, MATRIX, COMPRESSED, CHUNK = 128, 14, 15, 1 << 20
TYPES = {*range(1, 8), 9, 12, 13, MATRIX, 16, 17, 18}
"""Of the parts of a variable, as the format's description numbers them; others make SciPy read at random."""
DEEPEST = 16
MOST_BYTES = 4 * MOST_IN_ALL


def read_mat(path: Path) -> dict[str, np.ndarray]:
    """The convolutions of a cell `layers` of structs with `name` and `weights` (older: `filters`, `biases`).

    Raises:
      ValueError: there is no such cell, or it unpacks to more than any network here. On damaged bytes SciPy
        raises other errors, too.
    """
    from scipy.io import loadmat

    with path.open("rb") as file:
        check_variables(file)
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


def check_variables(file: BinaryIO) -> None:
    """Raise unless the variables of a MAT 5 file are made of known parts and take no more memory than any
    network here; SciPy unpacks a variable before it looks at it, and trusts what its parts say they are.

    Raises:
      ValueError: they are not, or would take more.
    """
    order = ">" if file.read(HEADER)[126:128] == b"MI" else "<"
    unpacked = 0
    while len(tag := file.read(8)) == 8:
        kind, size = struct.unpack(f"{order}II", tag)
        if kind != COMPRESSED:
            if size > MOST_BYTES:
                raise ValueError("larger than any network here")
            check_parts(memoryview(tag + file.read(size)), order)
            continue
        stream, left, whole = zlib.decompressobj(), size, bytearray()
        while left > 0 and (data := file.read(min(left, CHUNK))):
            left -= len(data)
            while data:
                whole += (part := stream.decompress(data, CHUNK))
                unpacked, data = unpacked + len(part), stream.unconsumed_tail
                if unpacked > MOST_BYTES:
                    raise ValueError("unpacks to more than any network here")
        check_parts(memoryview(whole), order)


def check_parts(data: memoryview, order: str, depth: int = 0) -> None:
    """Raise unless `data` is a row of tagged parts of known types that lie within it, and matrices of such.

    Raises:
      ValueError: it is not.
    """
    at = 0
    while at + 8 <= len(data):
        word, size = struct.unpack_from(f"{order}II", data, at)
        short = word >> 16  # up to 4 bytes stand within the tag, whose upper half is their number
        kind, length = (word & 0xFFFF, 0) if short else (word, size)
        if kind not in TYPES or short > 4 or length > len(data) - at - 8 or depth > DEEPEST:
            raise ValueError("parts of unknown types, or beyond the end")
        if kind == MATRIX:
            check_parts(data[at + 8 : at + 8 + length], order, depth + 1)
        at += 8 + length + -length % 8
