"""What is written beside a video: a strip of its frames, a plot of its flicker."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxstyle.atomic import write_whole
from jaxstyle.images.files import save
from jaxstyle.metrics.flicker import per_second
from jaxstyle.video.files.decode import resized
from jaxstyle.video.folder import is_video

STRIP_FRAMES, STRIP_HEIGHT, GAP = 6, 180, 4


def beside(output: Path, name: str) -> Path:
    """A file beside an output: `clip.mp4` -> `clip-NAME`."""
    stem = output.stem if is_video(output) else output.name
    return output.with_name(f"{stem}-{name}")


def strip_indices(count: int) -> list[int]:
    """The frames that a strip shows of so many."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, STRIP_FRAMES))})


def thumbnail(image: np.ndarray) -> np.ndarray:
    """A picture uint8 `[H, W, 3]`, `STRIP_HEIGHT` pixels high at most."""
    height = min(image.shape[0], STRIP_HEIGHT)
    return resized(image, height, max(1, round(image.shape[1] * height / image.shape[0])))


def write_strip(path: Path, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """Write frames above their results, all `thumbnail`s of equal size, from left to right."""
    height, width, _ = pairs[0][0].shape
    sheet = np.ones((2 * height + GAP, len(pairs) * (width + GAP) - GAP, 3), np.float32)
    for i, (frame, result) in enumerate(pairs):
        left = slice(i * (width + GAP), i * (width + GAP) + width)
        sheet[:height, left] = frame / np.float32(255)
        sheet[height + GAP:, left] = result / np.float32(255)
    save(path, sheet)


def write_flicker(output: Path, times: Sequence[float], values: Sequence[float]) -> tuple[Path, float]:
    """Write the flicker over time as a plot (and its numbers as JSON); returns the plot and the mean.

    Args:
      times, values: of the frames that have a neighbour before them in their scene, in seconds and 0 … 1.
    """
    import io

    from matplotlib.figure import Figure

    seconds, mean = per_second(times, values), float(np.mean(values)) if len(values) else 0.0
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    axes = figure.subplots()
    axes.plot(times, np.asarray(values) * 255, color="0.6", linewidth=1, label="frame by frame")
    axes.step([second + 0.5 for second, _ in seconds], [value * 255 for _, value in seconds], where="mid",
              color="tab:red", label="mean of a second")
    axes.set(xlabel="seconds", ylabel="flicker (0 … 255)", ylim=(0, None), title=f"mean {mean * 255:.2f}")
    axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    path = beside(output, "flicker.png")
    write_whole(path, buffer.getvalue())
    record = {"mean": mean, "per_second": [{"second": second, "mean": value} for second, value in seconds],
              "frames": [{"time": time, "flicker": value} for time, value in zip(times, values)]}
    write_whole(path.with_suffix(".json"), json.dumps(record, indent=1).encode())
    return path, mean
