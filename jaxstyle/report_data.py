"""What a report shows: the lanes of a sweep, read from its folder."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxstyle.errors import JaxstyleError
from jaxstyle.pareto import knee, pareto_front
from jaxstyle.sweep_files import FINISHED, FORMAT, IMAGE, MANIFEST, METRICS, RUNNING, lane_folder, read_json


@dataclass(frozen=True)
class LaneRecord:
    """A lane as it lies in the folder; what is not there yet is empty.

    Attributes:
      metrics: one row per step, as in metrics.jsonl; snapshots: step -> picture.
    """

    index: int
    labels: Mapping[str, str]
    manifest: Mapping[str, Any]
    image: Path | None
    snapshots: Mapping[int, Path]
    metrics: Sequence[Mapping[str, Any]]

    @property
    def status(self) -> str:
        """running, finished, failed or waiting."""
        return self.manifest.get("status", "waiting")

    @property
    def name(self) -> str:
        """The labels in one line, or the lane's number."""
        return ", ".join(f"{axis} {value}" for axis, value in self.labels.items()) or f"lane {self.index}"

    def distance(self, which: str) -> float:
        """Distance from content or style; not a number where it was not measured."""
        return self.manifest.get("distances", {}).get(which, math.nan)


@dataclass(frozen=True)
class SweepRecord:
    """A sweep: its plan and its lanes."""

    directory: Path
    plan: Mapping[str, Any]
    lanes: Sequence[LaneRecord]

    def front(self) -> tuple[list[int], int | None]:
        """Lanes on the Pareto front of content and style distance, and its knee."""
        # A lane that was stopped on the way may look good only because it hardly moved.
        points = [(lane.distance("content"), lane.distance("style")) if lane.status == FINISHED
                  else (math.nan, math.nan) for lane in self.lanes]
        front = pareto_front(points)
        return front, knee(points, front)


def read_sweep(directory: Path) -> SweepRecord:
    """The sweep in a folder, finished or not.

    Raises:
      JaxstyleError: there is none.
    """
    plan = read_json(directory / MANIFEST)
    if not isinstance(plan, dict) or plan.get("format") != FORMAT:
        raise JaxstyleError(f"{directory}: holds no sweep (no {MANIFEST} of the format {FORMAT})")
    lanes = [read_lane(lane_folder(directory, i), i, entry["labels"])
             for i, entry in enumerate(plan["lanes"])]
    return SweepRecord(directory, plan, lanes)


def read_lane(folder: Path, index: int, labels: Mapping[str, str]) -> LaneRecord:
    """One lane; only files that its manifest vouches for are used."""
    manifest = read_json(folder / MANIFEST) or {}
    whole = set(manifest.get("files", ())) if manifest.get("status") != RUNNING else set()
    metrics = (folder / METRICS).read_text().splitlines() if METRICS in whole else []
    return LaneRecord(
        index=index, labels=labels, manifest=manifest,
        image=folder / IMAGE if IMAGE in whole else None,
        snapshots={int(name[5:-4]): folder / name for name in sorted(whole) if name.startswith("step-")},
        metrics=[json.loads(line) for line in metrics],
    )
