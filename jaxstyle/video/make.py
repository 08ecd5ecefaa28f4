"""From a source to a finished video: frames are decoded, painted and written side by side."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from jaxstyle.errors import JaxstyleError
from jaxstyle.video import folder as files
from jaxstyle.video.estimate import FlowOf
from jaxstyle.video.files.decode import opened
from jaxstyle.video.files.encode import Sound, Target, writer
from jaxstyle.video.files.frames import Selection, Source, read
from jaxstyle.video.sequence import Before, Paint, Painted, behind, walk

METADATA_KEY = "jaxstyle"


@dataclass(frozen=True)
class Job:
    """A video to be made.

    Attributes:
      source, selection: where frames come from; output: a video file or a folder; height, width: of the
        results.
      paint, offsets, cut: see `sequence.walk` and `sequence.Before`; flow_of: flow between frames; measure:
        the flicker, too.
      crf: constant rate factor of the encoder; sound: whether it is copied; manifest: what made the video.
    """

    source: Source
    selection: Selection
    output: Path
    height: int
    width: int
    paint: Paint
    offsets: tuple[int, ...]
    cut: float
    flow_of: FlowOf
    manifest: Mapping[str, Any]
    measure: bool = False
    crf: int | None = None
    sound: bool = True


def make(job: Job, done: Callable[[int], np.ndarray | None] | None = None) -> Generator[Painted, None, None]:
    """Paints, writes and yields frame after frame; those that are there already are taken as they are.

    The work folder must have been begun (`folder.begin`). When the generator ends, the video is there.

    Args:
      done: where finished results are; in the work folder if not given.
    """
    work, source = files.work_folder(job.output), job.source
    times = [time - source.times[0] for time in source.times]
    ends = [*times[1:], source.duration]

    def there(index: int) -> np.ndarray | None:
        return files.read_frame(work, index, job.height, job.width)

    with ExitStack() as stack:
        append = stack.enter_context(writer(target(job))) if files.is_video(job.output) else None

        def write(index: int, painted: Painted) -> None:
            if painted.fresh or done is not None:
                files.write_frame(work, index, painted.image)
            if append is not None:
                append(painted.image, times[index], ends[index] - times[index])

        put = stack.enter_context(behind(write))
        running = walk(read(source, job.height, job.width), job.paint, job.flow_of,
                       Before(job.offsets, job.cut), measure=job.measure, done=done or there)
        for index, painted in enumerate(running):
            put(index, painted)
            yield painted
    files.tidy(work)
    if files.is_video(job.output):
        shutil.rmtree(work, ignore_errors=True)
    else:
        files.write_manifest(work, {**job.manifest, "status": files.FINISHED})


def target(job: Job) -> Target:
    """The video file of a job."""
    source, sound = job.source, None
    if job.sound and source.sounds:
        whole = job.selection.start == 0
        begin = source.times[0]
        end = None if job.selection.end is None else begin + source.duration
        sound = Sound(path=source.path, offset=begin, start=None if whole else begin, end=end)
    return Target(path=job.output, height=job.height, width=job.width, rate=source.rate,
                  time_base=source.time_base, crf=job.crf, sound=sound,
                  metadata={METADATA_KEY: json.dumps({**job.manifest, "status": files.FINISHED})})


def seconds(text: str) -> Fraction:
    """Seconds of a time such as "12", "0:10", "1:02:03.5"."""
    parts = [Fraction(part) for part in text.split(":")]
    total = Fraction(0)
    for part in parts:
        total = total * 60 + part
    return total


def read_recorded(path: Path) -> dict[str, Any]:
    """The manifest in the metadata of a video file.

    Raises:
      JaxstyleError: it has none.
    """
    with opened(path) as (container, _):
        texts = {key.lower(): text for key, text in container.metadata.items()}
    try:
        data = json.loads(texts.get(METADATA_KEY, ""))
    except ValueError:
        raise JaxstyleError(f"{path}: carries no jaxstyle manifest, so there is nothing to replay") from None
    if not isinstance(data, dict) or data.get("format") != files.FORMAT:
        raise JaxstyleError(f"{path}: its manifest is not of the format {files.FORMAT}")
    return data
