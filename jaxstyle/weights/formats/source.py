"""Weights files of other programs, read as plain arrays; nothing in a file is ever executed.

Every reader gives `{"layer/role": array}` with the layer names of the file itself and the roles
`weight`, `bias` and, for batch normalisation, `running_mean`, `running_var`. What the names and
shapes mean is decided in `weights.port`.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxstyle.errors import JaxstyleError
from jaxstyle.reading import open_regular
from jaxstyle.weights.formats.bounds import bounded, may_be_wanted
from jaxstyle.weights.formats.caffe import read_caffemodel
from jaxstyle.weights.formats.matconvnet import read_mat
from jaxstyle.weights.formats.torch import read_npy, read_torch

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
    with open_regular(path) as file:
        start = file.read(512)
    format, reader = _reader(path, start)
    try:
        arrays = named(reader(path))
    except JaxstyleError:
        raise
    except Exception as error:  # noqa: BLE001  damaged bytes make the format libraries raise anything at all
        raise JaxstyleError(f"{path}: not a complete {format} file ({_line(error)})") from None
    if not arrays:
        raise JaxstyleError(f"{path}: a {format} file without any layer parameters")
    return Source(format, arrays)


Reader = Callable[[Path], dict[str, np.ndarray]]


def _reader(path: Path, start: bytes) -> tuple[str, Reader]:
    """Name and reader of a format, from the first bytes of a file."""
    if start.startswith(b"PK\x03\x04"):
        return ("npz", read_npz) if _holds_arrays(path) else ("pytorch", read_torch)
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return "keras", read_h5
    if start.startswith(b"MATLAB"):
        return "matconvnet", read_mat
    if start.startswith(b"\x93NUMPY"):
        return "npy", read_npy
    if start[:1] == b"\x80" and path.suffix != ".caffemodel":
        return "pytorch", read_torch
    if start[:1] == b"\n" or path.suffix == ".caffemodel":
        return "caffe", read_caffemodel
    return "", _unknown


def _unknown(path: Path) -> dict[str, np.ndarray]:
    raise JaxstyleError(
        f"{path}: not a weights file of a known format, which are Keras .h5, PyTorch .pth, "
        "MatConvNet .mat, NumPy .npz or .npy, Caffe .caffemodel"
    )


def _holds_arrays(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError):
        return path.suffix == ".npz"


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """NumPy archive with names such as `conv1_1/weight`, `conv1_1.bias` or `conv1_1_W`."""
    found = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if not member.endswith(".npy"):
                continue
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                header = np.lib.format.read_array_header_1_0 if version == (1, 0) else \
                    np.lib.format.read_array_header_2_0
                shape, _, dtype = header(file)
            if dtype.kind in "fiu" and may_be_wanted(shape):
                with archive.open(member) as file:
                    found[member.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
                bounded(found)
    return found


def read_h5(path: Path) -> dict[str, np.ndarray]:
    """Keras weights: `block1_conv1/block1_conv1_W_1:0`, `…/kernel:0` or `…/conv2d_1/vars/0`."""
    import h5py

    found: dict[str, np.ndarray] = {}

    def visit(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        *groups, last = name.removesuffix(":0").split("/")
        role = {"0": "weight", "1": "bias"}.get(last) or re.sub(r"_\d+$", "", last).rpartition("_")[2]
        layers = [group for group in groups if re.fullmatch(r"block\d_conv\d|conv\d.*", group)]
        if role.lower() in ROLES and layers and item.dtype.kind in "fiu" and may_be_wanted(item.shape):
            found[f"{layers[0]}/{role}"] = item[()]
            bounded(found)

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return found


def named(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
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
