"""Video files → frames, through PyAV (FFmpeg): times, rotation, colour range and matrix respected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from jaxstyle.errors import JaxstyleError

RGB, BT709, UNSPECIFIED, BT2020_CL = 0, 1, 2, 10
HD_HEIGHT, HD_WIDTH = 720, 1280
"""From this size on, colours of an unknown matrix are taken for BT.709, below for BT.601, as players do."""
FAR = Fraction(20)
"""Seconds to a first frame from which on the file is searched for it."""
LATE = Fraction(1, 2)
"""Seconds that the last packet may fall short of the duration that a file claims."""


@dataclass(frozen=True)
class Scan:
    """What the packets of a file say, without decoding: `times` of its frames in seconds, ascending; `last`:
    duration of the last; `time_base`; the size of an upright frame in square pixels; the number of
    `sounds`."""

    times: tuple[Fraction, ...]
    last: Fraction
    time_base: Fraction
    height: int
    width: int
    sounds: int


def pyav() -> Any:
    """The module `av`.

    Raises:
      JaxstyleError: it is not installed.
    """
    try:
        import av
    except ImportError:
        raise JaxstyleError("videos need PyAV: pip install 'jaxstyle[video]'") from None
    av.logging.set_level(av.logging.PANIC)  # what matters is raised
    return av


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The open container and its (first) video stream.

    Raises:
      JaxstyleError: no such file, no video, or a codec that is not known.
    """
    av = pyav()
    if not path.is_file():
        raise JaxstyleError(f"{path}: there is no such file or folder")
    try:
        container = av.open(str(path))
    except av.error.FFmpegError as error:
        raise JaxstyleError(f"{path}: is not a video that FFmpeg can read, or it is truncated "
                            f"({reason(error)})") from error
    with container:
        # the picture of a song is a video stream, too
        streams = [stream for stream in container.streams.video
                   if not stream.disposition & av.stream.Disposition.attached_pic]
        if not streams:
            kinds = sorted({stream.type for stream in container.streams} - {"video"})
            raise JaxstyleError(f"{path}: has no video stream (only {', '.join(kinds) or 'nothing'})")
        if streams[0].codec_context is None:
            raise JaxstyleError(f"{path}: its video has a codec that this FFmpeg does not know; "
                                "convert it first")
        try:
            yield container, streams[0]
        except av.error.FFmpegError as error:
            raise JaxstyleError(f"{path}: cannot be decoded ({reason(error)}); the file is damaged or "
                                "truncated") from error


def reason(error: Exception) -> str:
    """What FFmpeg says, without its numbers and names of files."""
    return str(getattr(error, "strerror", None) or error).strip().rstrip(".").lower()


def scan(path: Path) -> Scan:
    """Reads every packet of a file, decoding the first frame only.

    Raises:
      JaxstyleError: see `opened`; or there are no frames, or fewer than the file claims to have.
    """
    with opened(path) as (container, stream):
        base, claimed, promised = stream.time_base, container.duration, stream.frames
        times, durations, reached, broken = [], [], Fraction(0), None
        try:
            for packet in container.demux():
                if packet.size == 0 or packet.time_base is None or packet.pts is packet.dts is None:
                    continue
                pts = packet.dts if packet.pts is None else packet.pts
                reached = max(reached, (pts + (packet.duration or 0)) * packet.time_base)
                if packet.stream_index == stream.index and not packet.is_discard:
                    times.append(pts * base)
                    durations.append((packet.duration or 0) * base)
        except pyav().error.FFmpegError as error:
            broken = error
        sounds, start = len(container.streams.audio), Fraction(container.start_time or 0, 1_000_000)
        rate = stream.average_rate or stream.guessed_rate or Fraction(24)
    if not times:
        raise JaxstyleError(f"{path}: its video stream has no frames")
    short = claimed is not None and reached - start < Fraction(claimed, 1_000_000) - LATE
    if broken or short or len(times) < 0.9 * promised:
        raise JaxstyleError(f"{path}: is truncated or damaged after {float(reached - start):.2f} s"
                            f"{'' if claimed is None else f' of {claimed / 1e6:.2f} s'}; copy it again, or "
                            "cut it there with FFmpeg")
    height, width = first_shape(path)
    order = sorted(range(len(times)), key=times.__getitem__)
    return Scan(times=tuple(times[i] for i in order), last=durations[order[-1]] or 1 / rate, time_base=base,
                height=height, width=width, sounds=sounds)


def first_shape(path: Path) -> tuple[int, int]:
    """Height and width of the first frame, upright, in square pixels."""
    with opened(path) as (container, stream):
        for frame in container.decode(stream):
            image = upright(pixels(frame), frame)
            aspect = stream.sample_aspect_ratio or Fraction(1)
            height, width = image.shape[:2]
            if turned(frame):
                return round(height * aspect), width
            return height, round(width * aspect)
    raise JaxstyleError(f"{path}: no frame of its video can be decoded")


def frames(path: Path, times: Sequence[Fraction], height: int, width: int) -> Iterator[np.ndarray]:
    """The frames at `times` (seconds by the clock of the file, ascending): uint8 `[height, width, 3]`.

    Raises:
      JaxstyleError: the file cannot be decoded, or its frames change their size.
    """
    with opened(path) as (container, stream):
        stream.thread_type = "AUTO"
        start, shape, wanted = (stream.start_time or 0) * stream.time_base, None, iter(times)
        want = next(wanted)
        if want - start > FAR:
            container.seek(int((want - FAR / 2) / stream.time_base), stream=stream)
        for frame in container.decode(stream):
            if frame.pts is None:
                frame.pts = frame.dts
            now = frame.pts * stream.time_base
            shape = shape or (frame.height, frame.width)
            if (frame.height, frame.width) != shape:
                raise JaxstyleError(f"{path}: changes its size at {float(now - start):.2f} s, from "
                                    f"{shape[1]}×{shape[0]} to {frame.width}×{frame.height}; "
                                    "cut it there (end)")
            if now < want:
                continue
            yield resized(upright(pixels(frame), frame), height, width)
            try:
                want = next(wanted)
            except StopIteration:
                return


def pixels(frame: Any) -> np.ndarray:
    """The pixels of a decoded frame in sRGB, uint8 `[H, W, 3]`: its own colour matrix and range, or those
    that players assume where it says nothing."""
    av = pyav()
    matrix = int(frame.colorspace)
    if matrix == UNSPECIFIED or matrix > BT2020_CL:
        hd = frame.height >= HD_HEIGHT or frame.width >= HD_WIDTH
        matrix = BT709 if hd else 5
    known = {BT709: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, BT2020_CL: 9}
    flags = av.video.reformatter.Interpolation
    rgb = frame.reformat(format="rgb24", src_colorspace=known.get(matrix),
                         src_color_range=int(frame.color_range) or None,
                         interpolation=flags.BICUBIC | flags.FULL_CHR_H_INT | flags.ACCURATE_RND)
    array: np.ndarray = rgb.to_ndarray()
    return array


def orientation(frame: Any) -> np.ndarray:
    """The 2×2 part of a frame's display matrix in whole numbers: stored (x, y) times it is shown (x, y)."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return np.eye(2, dtype=int)
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5]
    turn: np.ndarray = np.sign(np.array([[a, b], [c, d]], int) * (np.abs([[a, b], [c, d]]) > 2**15))
    return turn


def turned(frame: Any) -> bool:
    """Whether width and height are exchanged when a frame is shown."""
    return bool(orientation(frame)[0, 0] == 0)


def upright(image: np.ndarray, frame: Any) -> np.ndarray:
    """An image as its frame's display matrix says it is shown: turned by quarters, mirrored."""
    matrix = orientation(frame)
    if turned(frame):
        image = image.transpose(1, 0, 2)
        across, down = matrix[1, 0], matrix[0, 1]
    else:
        across, down = matrix[0, 0], matrix[1, 1]
    image = image[:, ::-1] if across < 0 else image
    return image[::-1] if down < 0 else image


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture uint8 `[H, W, 3]` at another size: averaging where it shrinks, cubic where it grows."""
    if image.shape[:2] == (height, width):
        return np.ascontiguousarray(image)
    av = pyav()
    flags = av.video.reformatter.Interpolation
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    kind = flags.AREA if height <= image.shape[0] and width <= image.shape[1] else flags.BICUBIC
    kind |= flags.ACCURATE_RND
    array: np.ndarray = frame.reformat(width=width, height=height, interpolation=kind).to_ndarray()
    return array
