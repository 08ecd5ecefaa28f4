"""Frames and where they come from: a video file, or a folder of numbered pictures."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import load
from jaxstyle.images.folder import READ, is_picture
from jaxstyle.video.files import decode

T = TypeVar("T")
AHEAD = 2
"""Frames decoded before they are asked for."""


@dataclass(frozen=True)
class Frame:
    """One picture of a video: its number (from 1, as in the source), its time in seconds from the first one
    asked for, and its pixels, uint8 `[H, W, 3]`, sRGB, upright, with square pixels."""

    number: int
    time: Fraction
    image: np.ndarray


@dataclass(frozen=True)
class Selection:
    """Which frames: from `start` to before `end` (seconds; None: to the last), of these each `every`-th."""

    start: Fraction = Fraction(0)
    end: Fraction | None = None
    every: int = 1


@dataclass(frozen=True)
class Source:
    """A video before it is decoded.

    Attributes:
      path: of the file or folder; pictures: the files of a folder (none for a video file).
      times: of the selected frames in seconds, by the clock of the file; numbers: theirs, from 1.
      duration: from the first selected frame to the end of the last one; rate: frames per second on average,
        of the selected ones; time_base: the unit of times.
      height, width: upright, in square pixels; sounds: the number of audio streams.
    """

    path: Path
    pictures: tuple[Path, ...]
    times: tuple[Fraction, ...]
    numbers: tuple[int, ...]
    duration: Fraction
    rate: Fraction
    time_base: Fraction
    height: int
    width: int
    sounds: int


def open_source(path: Path, selection: Selection, rate: Fraction) -> Source:
    """A video file or a folder of numbered pictures; `rate` is that of a folder, frames per second.

    Raises:
      JaxstyleError: there is nothing of this name, nothing to decode in it, or no frame is selected.
    """
    if selection.every < 1 or selection.start < 0:
        raise JaxstyleError("every takes a number of at least 1, and the start a time of at least 0")
    if selection.end is not None and selection.end <= selection.start:
        raise JaxstyleError(f"the end, {float(selection.end):g} s, is not after the start, "
                            f"{float(selection.start):g} s")
    if path.is_dir():
        return _folder(path, selection, rate)
    found = decode.scan(path)
    times = found.times
    chosen = _chosen(path, [time - times[0] for time in times], selection, times[-1] - times[0] + found.last)
    # a frame that is kept lasts until the next one that would be
    after = chosen[-1] + selection.every
    until = times[after] if after < len(times) else times[-1] + found.last
    duration = until - times[chosen[0]]
    return Source(path=path, pictures=(), times=tuple(times[i] for i in chosen),
                  numbers=tuple(i + 1 for i in chosen), duration=duration,
                  rate=len(chosen) / duration, time_base=found.time_base, height=found.height,
                  width=found.width, sounds=found.sounds)


def _chosen(path: Path, times: list[Fraction], selection: Selection, end: Fraction) -> list[int]:
    """Indices of the selected frames."""
    inside = [i for i, time in enumerate(times)
              if time >= selection.start and (selection.end is None or time < selection.end)]
    if not inside:
        raise JaxstyleError(f"{path}: has no frame between the start and the end asked for; it lasts "
                            f"{float(end):.2f} s")
    return inside[::selection.every]


def numbered(folder: Path) -> list[tuple[int, Path]]:
    """The pictures of a folder by the last number in their names, in order.

    Raises:
      JaxstyleError: there are none, one has no number, two have the same, or one is missing in between.
    """
    pictures = sorted(path for path in folder.iterdir() if is_picture(path))
    found: dict[int, Path] = {}
    for path in pictures:
        digits = re.findall(r"\d+", path.stem)
        if not digits:
            raise JaxstyleError(f"{path}: has no number in its name, so its place among the frames is not "
                                "known")
        number = int(digits[-1])
        if number in found:
            raise JaxstyleError(f"{path}: has the same number as {found[number].name}; remove one of them")
        found[number] = path
    if not found:
        raise JaxstyleError(f"{folder}: holds no pictures ({', '.join(READ)})")
    for before, after in pairwise(sorted(found)):
        if after != before + 1:
            raise JaxstyleError(f"{folder}: frame {before + 1} is missing (after {found[before].name} comes "
                                f"{found[after].name}); add it or renumber the files")
    return [(number, found[number]) for number in sorted(found)]


def _folder(folder: Path, selection: Selection, rate: Fraction) -> Source:
    pictures = numbered(folder)
    times = [i / rate for i in range(len(pictures))]
    chosen = _chosen(folder, times, selection, len(pictures) / rate)
    height, width, _ = load(pictures[chosen[0]][1]).shape
    step = selection.every / rate
    return Source(path=folder, pictures=tuple(pictures[i][1] for i in chosen),
                  times=tuple(times[i] for i in chosen), numbers=tuple(pictures[i][0] for i in chosen),
                  duration=len(chosen) * step, rate=1 / step, time_base=1 / rate, height=height, width=width,
                  sounds=0)


def read(source: Source, height: int, width: int) -> Iterator[Frame]:
    """The selected frames in order, `height` × `width` pixels, one at a time.

    Raises:
      JaxstyleError: a frame cannot be decoded, or has another size than the first.
    """
    if source.pictures:
        images: Iterable[np.ndarray] = _pictures(source, height, width)
    else:
        images = decode.frames(source.path, source.times, height, width)
    count = 0
    for number, time, image in zip(source.numbers, source.times, images):
        yield Frame(number, time - source.times[0], image)
        count += 1
    if count < len(source.times):
        raise JaxstyleError(f"{source.path}: only {count} of {len(source.times)} frames can be decoded; the "
                            "file is damaged or truncated, leave its end out (end)")


def _pictures(source: Source, height: int, width: int) -> Iterator[np.ndarray]:
    for path in source.pictures:
        image = load(path)
        if image.shape[:2] != (source.height, source.width):
            raise JaxstyleError(f"{path}: is {image.shape[1]}×{image.shape[0]} pixels, but the first frame "
                                f"is {source.width}×{source.height}; give all the same size")
        yield decode.resized(np.rint(image * 255).astype(np.uint8), height, width)


def ahead(items: Iterable[T], count: int = AHEAD) -> Iterator[T]:
    """The same items, of which up to `count` are made beforehand in a thread of their own."""
    waiting: queue.Queue[Any] = queue.Queue(count)
    stop, end, made = threading.Event(), object(), (item for item in items)

    def put(item: Any) -> None:
        while not stop.is_set():
            try:
                return waiting.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in made:
                put(item)
                if stop.is_set():
                    break
            made.close()  # by the thread that runs it
            put(end)
        except BaseException as error:  # noqa: BLE001  handed to the thread that waits
            put(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not end:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()

