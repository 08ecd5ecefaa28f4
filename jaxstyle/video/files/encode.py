"""Frames → video files, through PyAV (FFmpeg); sound is copied packet by packet, untouched."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from jaxstyle.errors import JaxstyleError
from jaxstyle.video.files.decode import opened, pyav, reason

CODECS = {".mp4": ("mp4", "libx264", 18), ".m4v": ("mp4", "libx264", 18), ".mov": ("mov", "libx264", 18),
          ".mkv": ("matroska", "libx264", 18), ".webm": ("webm", "libvpx-vp9", 30)}
"""Suffix -> FFmpeg's names of container and encoder, and a constant rate factor that looks good."""
Append = Callable[[np.ndarray, Fraction, Fraction], None]
CopySound = Callable[[Fraction | None], None]
FINEST = 1_000_000
"""Units of time per second that containers can count in."""


@dataclass(frozen=True)
class Sound:
    """The audio streams of a file, from `start` to `end` (seconds by its clock; None: all there is), which
    become those from `offset` on."""

    path: Path
    offset: Fraction
    start: Fraction | None = None
    end: Fraction | None = None


@dataclass(frozen=True)
class Target:
    """A video file to be written: its frames' size and rate (frames per second, on average), the unit of
    times, the duration of the last frame, and what it says of itself."""

    path: Path
    height: int
    width: int
    rate: Fraction
    time_base: Fraction
    crf: int | None = None
    sound: Sound | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def check_target(path: Path) -> None:
    """Raise unless videos of this suffix can be written.

    Raises:
      JaxstyleError: it is not known.
    """
    if path.suffix.lower() not in CODECS:
        raise JaxstyleError(f"{path}: cannot write this kind of video; use {', '.join(CODECS)}, or a folder")


@contextmanager
def writer(target: Target) -> Iterator[Append]:
    """A function that appends a frame (uint8 `[H, W, 3]`, its time and its duration in seconds).

    The file gets its name when the block ends without an exception, whole; before, and after an exception,
    there is nothing of that name that was not there before.

    Raises:
      JaxstyleError: odd sizes, which the codecs cannot hold; sound that the container cannot hold; a full
        disk.
    """
    check_target(target.path)
    if target.height % 2 or target.width % 2:
        raise JaxstyleError(f"{target.path}: {target.width}×{target.height} pixels: video files take even "
                            "sizes only; choose another size, or write a folder of frames")
    av, final = pyav(), Path(os.path.realpath(target.path))
    temporary = final.parent / f".jaxstyle-{secrets.token_hex(8)}.tmp"
    kind, _, _ = CODECS[target.path.suffix.lower()]
    options = {"movflags": "use_metadata_tags+faststart"} if kind in ("mp4", "mov") else {}
    try:
        with ExitStack() as stack:
            output = stack.enter_context(av.open(str(temporary), "w", format=kind, container_options=options))
            output.metadata.update(target.metadata)
            stream = _video_stream(output, target)
            copy_sound = _sound_copier(stack, output, target)
            durations: dict[int, int] = {}
            yield _appender(output, stream, copy_sound, durations)
            for packet in stream.encode():
                _mux(output, packet, copy_sound, durations)
            copy_sound(None)
        _flush(temporary)
        os.replace(temporary, final)
    except (av.error.FFmpegError, OSError) as error:
        raise JaxstyleError(f"{target.path}: cannot be written ({reason(error)}); check the space on its "
                            "disk and the permissions of its folder") from error
    finally:
        temporary.unlink(missing_ok=True)


def _video_stream(output: Any, target: Target) -> Any:
    _, codec, crf = CODECS[target.path.suffix.lower()]
    options = {"crf": str(crf if target.crf is None else target.crf)}
    if codec == "libvpx-vp9":
        options |= {"b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
    base = target.time_base if target.time_base.denominator <= FINEST else Fraction(1, 90_000)
    stream = output.add_stream(codec, rate=target.rate.limit_denominator(100_000), options=options)
    stream.height, stream.width, stream.pix_fmt = target.height, target.width, "yuv420p"
    context = stream.codec_context
    context.time_base = stream.time_base = base
    context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
    context.color_range = 1  # 16 … 235
    return stream


def _appender(output: Any, stream: Any, copy_sound: CopySound, durations: dict[int, int]) -> Append:
    av = pyav()
    flags = av.video.reformatter.Interpolation
    base = stream.codec_context.time_base

    def append(image: np.ndarray, time: Fraction, duration: Fraction) -> None:
        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
            format="yuv420p", dst_colorspace=1, dst_color_range=1,
            interpolation=flags.BICUBIC | flags.ACCURATE_RND)
        frame.colorspace, frame.color_range = 1, 1
        frame.pts, frame.time_base = round(time / base), base
        durations[frame.pts] = max(1, round((time + duration) / base) - frame.pts)
        for packet in stream.encode(frame):
            _mux(output, packet, copy_sound, durations)

    return append


def _mux(output: Any, packet: Any, copy_sound: CopySound, durations: dict[int, int]) -> None:
    """Write a packet of the video after the sound up to its time; encoders forget how long frames last."""
    packet.duration = durations.pop(packet.pts, packet.duration)
    copy_sound(packet.dts * packet.time_base)
    output.mux(packet)


def _sound_copier(stack: ExitStack, output: Any, target: Target) -> CopySound:
    """A function that copies the packets of sound up to a time of the output (None: all that are left)."""
    sound = target.sound
    if sound is None:
        return lambda until: None
    container, _ = stack.enter_context(opened(sound.path))
    copies = {}
    for stream in container.streams.audio:
        try:
            copies[stream.index] = output.add_stream_from_template(stream)
        except (ValueError, pyav().error.FFmpegError) as error:
            raise JaxstyleError(f"{target.path}: {target.path.suffix} cannot hold the sound "
                                f"({stream.codec_context.name}); write .mkv, or leave it out") from error
    packets = _sound_packets(container, sound)
    waiting = [next(packets, None)]

    def copy(until: Fraction | None) -> None:
        while (packet := waiting[0]) is not None and (
                until is None or packet.dts * packet.time_base <= until):
            packet.stream = copies[packet.stream_index]
            output.mux(packet)
            waiting[0] = next(packets, None)

    return copy


def _sound_packets(container: Any, sound: Sound) -> Iterator[Any]:
    for packet in container.demux(container.streams.audio):
        if packet.size == 0 or packet.pts is None or packet.dts is None:
            continue
        begins, base = packet.pts * packet.time_base, packet.time_base
        if sound.end is not None and begins >= sound.end:
            return
        if sound.start is not None and begins < sound.start:
            continue
        shift = round(sound.offset / base)
        packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
        yield packet


def _flush(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
