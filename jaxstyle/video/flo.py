"""Flow files (.flo, Middlebury): read with checks, written whole."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np

from jaxstyle.atomic import write_whole
from jaxstyle.errors import JaxstyleError

MAGIC = b"PIEH"
UNKNOWN = 1e9
"""Longer vectors mark places without a known flow."""
MAX_SIDE = 65_536


def read_flo(path: str | os.PathLike[str]) -> np.ndarray:
    """The flow in a .flo file: float32 `[H, W, 2]`, (u, v) in pixels to the right and downwards.

    Unknown places (components beyond 1e9) stay as they are: they point outside every image, so that no
    consistency check trusts them.

    Raises:
      JaxstyleError: no such file, not a .flo file, shorter or longer than its size says, or with numbers that
        are not finite.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise JaxstyleError(f"{path}: cannot be read ({error.strerror or error})") from error
    if data[:4] != MAGIC or len(data) < 12:
        raise JaxstyleError(f"{path}: is not a flow file (.flo begins with PIEH)")
    width, height = struct.unpack("<ii", data[4:12])
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise JaxstyleError(f"{path}: its header says {width}×{height} pixels; the file is damaged")
    wanted = 12 + 8 * width * height
    if len(data) != wanted:
        state = "truncated" if len(data) < wanted else "longer than that"
        raise JaxstyleError(f"{path}: {width}×{height} pixels take {wanted} bytes, but it has {len(data)}; "
                            f"the file is {state}")
    flow = np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2).astype(np.float32)
    if not np.isfinite(flow).all():
        raise JaxstyleError(f"{path}: holds numbers that are not finite; compute the flow again")
    return flow


def write_flo(path: str | os.PathLike[str], flow: np.ndarray) -> None:
    """Write a flow field `[H, W, 2]`; the file appears whole or not at all.

    Raises:
      JaxstyleError: another shape, or the file cannot be written.
    """
    flow = np.asarray(flow)
    if flow.ndim != 3 or flow.shape[2] != 2:
        raise JaxstyleError(f"{path}: a flow field is [H, W, 2], not {list(flow.shape)}")
    header = MAGIC + struct.pack("<ii", flow.shape[1], flow.shape[0])
    write_whole(path, header + np.ascontiguousarray(flow, "<f4").tobytes())
