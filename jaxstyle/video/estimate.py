"""Optical flow between two frames: estimated by OpenCV's DIS, or read from .flo files.

DIS: Kroeger, Timofte, Dai & Van Gool 2016, "Fast optical flow using dense inverse search". Estimates are kept
on disk, one file for each pair, under a hash of its pixels.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxstyle.atomic import write_whole
from jaxstyle.errors import JaxstyleError
from jaxstyle.video.files.frames import Frame
from jaxstyle.video.flo import read_flo
from jaxstyle.video.flow import resize_flow

Flows = tuple[np.ndarray, np.ndarray]
"""Backward and forward flow between two frames, float32 `[H, W, 2]` each."""
FlowOf = Callable[[Frame, Frame], Flows]
"""Flow between an earlier and a later frame."""
LEAST = 16
"""Pixels of a side below which DIS has no scale to work on; smaller frames are enlarged for it."""


def opencv() -> Any:
    """The module `cv2`.

    Raises:
      JaxstyleError: it is not installed.
    """
    try:
        import cv2
    except ImportError:
        raise JaxstyleError("optical flow needs OpenCV: pip install 'jaxstyle[video]'") from None
    return cv2


def estimate(earlier: np.ndarray, later: np.ndarray) -> Flows:
    """Backward and forward flow between two frames, uint8 `[H, W, 3]`, in float16 precision.

    On one thread: with more, DIS's result depends on their number. Frames below `LEAST` pixels a side are
    enlarged for it.
    """
    cv2 = opencv()
    height, width = earlier.shape[:2]
    scale = max(1, -(-LEAST // min(height, width)))
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        grey = [cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (width * scale, height * scale))
                for image in (earlier, later)]
        flows = [dis.calc(grey[1], grey[0], None), dis.calc(grey[0], grey[1], None)]
    finally:
        cv2.setNumThreads(threads)
    small = [cv2.resize(flow, (width, height)) / scale for flow in flows]
    return small[0].astype(np.float16).astype(np.float32), small[1].astype(np.float16).astype(np.float32)


def cached(folder: Path, earlier: Frame, later: Frame) -> Flows:
    """`estimate`, or what it gave before for the same pixels; a damaged file is made again.

    Raises:
      JaxstyleError: the file cannot be written.
    """
    key = hashlib.sha256(f"dis-medium {opencv().__version__} {earlier.image.shape}".encode())
    key.update(earlier.image.tobytes())
    key.update(later.image.tobytes())
    path = folder / f"{key.hexdigest()[:32]}.npz"
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as data:
            backward, forward = data["backward"], data["forward"]
            if backward.shape == forward.shape == (*later.image.shape[:2], 2):
                return backward.astype(np.float32), forward.astype(np.float32)
    except Exception:  # noqa: BLE001  whatever is wrong with a file, it can be made again
        path.unlink(missing_ok=True)
    flows = estimate(earlier.image, later.image)
    buffer = io.BytesIO()
    np.savez(buffer, backward=flows[0].astype(np.float16), forward=flows[1].astype(np.float16))
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, buffer.getvalue())
    return flows


def given(folder: Path, earlier: Frame, later: Frame) -> Flows:
    """Flow from `backward_J_I.flo` and `forward_I_J.flo` for frames I < J, at the frames' size.

    Raises:
      JaxstyleError: a file is missing or not whole, or has not the proportions of the frames.
    """
    i, j = earlier.number, later.number
    found = []
    for name in (f"backward_{j}_{i}.flo", f"forward_{i}_{j}.flo"):
        flow = read_flo(folder / name)
        height, width = later.image.shape[:2]
        across, down = flow.shape[1] / width, flow.shape[0] / height
        if abs(across - down) * min(width, height) > 2:
            raise JaxstyleError(f"{folder / name}: is {flow.shape[1]}×{flow.shape[0]}, which are not the "
                                f"proportions of the frames, {width}×{height}")
        same = flow.shape[:2] == (height, width)
        found.append(flow if same else np.asarray(resize_flow(jnp.asarray(flow), height, width)))
    return found[0], found[1]


def flow_source(files: Path | None, cache: Path) -> FlowOf:
    """Flow from a folder of .flo files, or estimated and kept in the folder `cache`."""
    return partial(cached, cache) if files is None else partial(given, files)
