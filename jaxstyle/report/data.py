"""What a report shows: the lanes of a sweep, read from its folder."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxstyle.errors import JaxstyleError
from jaxstyle.metrics.pareto import knee, pareto_front
from jaxstyle.sweeps.folder import FINISHED, FORMAT, IMAGE, MANIFEST, METRICS, RUNNING, lane_folder, read_json


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
        """running, finished, stopped, failed or waiting."""
        return self.manifest.get("status", "waiting")

    @property
    def name(self) -> str:
        """The labels in one line, or the lane's number."""
        return ", ".join(f"{axis} {value}" for axis, value in self.labels.items()) or f"lane {self.index}"

    def distance(self, which: str) -> float:
        """Distance from content or style; not a number where it was not measured."""
        return self.manifest.get("distances", {}).get(which, math.nan)

    @property
    def measured(self) -> bool:
        """Whether both distances are there."""
        return math.isfinite(self.distance("content") + self.distance("style"))

    @property
    def judge(self) -> str:
        """Name of the network that measured the distances."""
        name = (self.manifest.get("judge") or self.manifest.get("weights") or {}).get("name", "")
        return Path(name).stem if name.endswith(".safetensors") else name


@dataclass(frozen=True)
class SweepRecord:
    """A sweep: its plan and its lanes."""

    directory: Path
    plan: Mapping[str, Any]
    lanes: Sequence[LaneRecord]

    def judges(self) -> list[str]:
        """The networks that measured distances, each once."""
        return sorted({lane.judge for lane in self.lanes if lane.measured})

    def measured_by(self) -> str:
        """By which network distances were measured, as a sentence."""
        judges = self.judges()
        if len(judges) > 1:
            return (f"Measured by several networks ({', '.join(judges)}): lanes of different ones cannot be "
                    "compared, and there is no Pareto front.")
        return f"Measured by {judges[0]}." if judges else ""

    def front(self) -> tuple[list[int], int | None]:
        """Lanes on the Pareto front of content and style distance, and its knee.

        There is none of distances that several networks measured.
        """
        if len(self.judges()) > 1:
            return [], None
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
