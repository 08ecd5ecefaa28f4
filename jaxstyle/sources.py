"""Weights files of other programs, read as plain arrays; nothing in a file is ever executed.

Every reader gives `{"layer/role": array}` with the layer names of the file itself and the roles
`weight`, `bias` and, for batch normalisation, `running_mean`, `running_var`. What the names and
shapes mean is decided in `ports.py`.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxstyle.errors import JaxstyleError

ROLES = {
    "weight": "weight", "weights": "weight", "kernel": "weight", "w": "weight", "filters": "weight",
    "bias": "bias", "biases": "bias", "b": "bias",
    "running_mean": "running_mean", "running_var": "running_var",
}


class Source(NamedTuple):
    """Arrays of one file by "layer/role", in the file's own layer names, and how it was stored."""

    format: str
    arrays: dict[str, np.ndarray]


def read_source(path: Path) -> Source:
    """The arrays of a weights file, whatever its format; told apart by content, not by ending.

    Raises:
      JaxstyleError: missing, truncated, of a format that is not known, or without arrays.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(512)
    except OSError as error:
        raise JaxstyleError(f"{path}: cannot be read ({error.strerror})") from None
    format, reader = _reader(path, start)
    try:
        arrays = reader(path)
    except JaxstyleError:
        raise
    except Exception as error:  # damaged bytes make the format libraries raise anything at all
        raise JaxstyleError(f"{path}: not a complete {format} file ({_line(error)})") from None
    if not arrays:
        raise JaxstyleError(f"{path}: a {format} file without any layer parameters")
    return Source(format, arrays)


def _reader(path: Path, start: bytes):
    if start.startswith(b"PK\x03\x04"):
        return ("npz", read_npz) if _holds_arrays(path) else ("", _unknown)
    return ("", _unknown)


def _unknown(path: Path) -> dict[str, np.ndarray]:
    raise JaxstyleError(
        f"{path}: not a weights file of a known format, which are Keras .h5, PyTorch .pth, "
        "MatConvNet .mat, NumPy .npz or .npy, Caffe .caffemodel"
    )


def _holds_arrays(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except zipfile.BadZipFile:
        return path.suffix == ".npz"


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """NumPy archive with names such as `conv1_1/weight`, `conv1_1.bias` or `conv1_1_W`."""
    with np.load(path, allow_pickle=False) as archive:
        return named({name: archive[name] for name in archive.files})


def named(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays under "layer/role"; what has no known role, such as a step counter, is left out."""
    found = {}
    for name, array in arrays.items():
        for separator in "/._":
            layer, mark, role = name.rpartition(separator)
            if mark and role.lower() in ROLES:
                found[f"{layer}/{ROLES[role.lower()]}"] = array
                break
    return found


def _line(error: Exception) -> str:
    """The first line of an error's message."""
    return (str(error).splitlines() or [type(error).__name__])[0]
