"""What a report shows: the lanes of a sweep, read from its folder."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxstyle.errors import JaxstyleError
from jaxstyle.fast.training.recipe import Training
from jaxstyle.fast.training.recipes import training_from_json
from jaxstyle.images.decode import opened
from jaxstyle.metrics.pareto import knee, pareto_front
from jaxstyle.reading import parsed, read_bounded
from jaxstyle.runs.manifest import recorded_entries
from jaxstyle.runs.replay import recipe_from_json
from jaxstyle.runs.schema import LaneManifest, Row
from jaxstyle.sweeps.folder import (
    FINISHED,
    FORMAT,
    IMAGE,
    MANIFEST,
    METRICS,
    RUNNING,
    axes_of,
    file_hash,
    lane_folder,
    read_plan,
)
from jaxstyle.transfer.recipe import Recipe
from jaxstyle.weights import SUFFIX


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
        status: str = self.manifest.get("status", "waiting")
        return status

    @property
    def name(self) -> str:
        """The labels in one line, or the lane's number."""
        return ", ".join(f"{axis} {value}" for axis, value in self.labels.items()) or f"lane {self.index}"

    def distance(self, which: str) -> float:
        """Distance from content or style; not a number where it was not measured."""
        value = self.manifest.get("distances", {}).get(which)
        return math.nan if value is None else value

    @property
    def measured(self) -> bool:
        """Whether both distances are there."""
        return math.isfinite(self.distance("content") + self.distance("style"))

    @property
    def pair(self) -> str:
        """Which pictures it was made from: lanes of one pair have the same."""
        references = self.manifest.get("references", {})
        entries = recorded_entries(references)
        return repr([(kind, entry["sha256"]) for kind, entry in entries if kind != "start"])

    @property
    def judge(self) -> str:
        """Name of the network that measured the distances."""
        name = (self.manifest.get("judge") or self.manifest.get("weights") or {}).get("name", "")
        return Path(name).stem if name.endswith(SUFFIX) else name


@dataclass(frozen=True)
class SweepRecord:
    """A sweep: its plan and its lanes."""

    directory: Path
    plan: Mapping[str, Any]
    lanes: Sequence[LaneRecord]

    def judges(self) -> list[str]:
        """The networks that measured distances, each once."""
        return sorted({lane.judge for lane in self.lanes if lane.measured})

    def one_objective(self) -> bool:
        """Whether all lanes minimise the same thing: the same terms and weights, network and pictures. Losses
        of different objectives cannot be read off one axis."""
        return len({repr((lane.pair, lane.manifest["weights"], lane.manifest["recipe"].get("terms")))
                    for lane in self.lanes if "recipe" in lane.manifest}) <= 1

    def measured_by(self) -> str:
        """By which network distances were measured, as a sentence."""
        judges = self.judges()
        if len(judges) > 1:
            return (f"Measured by several networks ({', '.join(judges)}): lanes of different ones cannot be "
                    "compared, and there is no Pareto front.")
        return f"Measured by {judges[0]}." if judges else ""

    def fronts(self) -> list[tuple[list[int], int | None]]:
        """For each pair of photo and paintings: lanes on the Pareto front of content and style distance, and
        its knee. Distances from different pictures, or measured by different networks, are never compared.
        """
        if len(self.judges()) > 1:
            return []
        # A lane that was stopped on the way may look good only because it hardly moved.
        pairs: dict[str, dict[int, tuple[float, float]]] = {}
        for lane in self.lanes:
            if lane.status == FINISHED and lane.measured:
                pairs.setdefault(lane.pair, {})[lane.index] = lane.distance("content"), lane.distance("style")
        found = []
        for lanes in pairs.values():
            indices, points = list(lanes), list(lanes.values())
            front = pareto_front(points)
            best = knee(points, front)
            found.append(([indices[i] for i in front], None if best is None else indices[best]))
        return found

    def front(self) -> tuple[list[int], int | None]:
        """The front and knee of a sweep of one pair of pictures; of more, all fronts and no knee."""
        fronts = self.fronts()
        return fronts[0] if len(fronts) == 1 else ([i for front, _ in fronts for i in front], None)


def read_sweep(directory: Path) -> SweepRecord:
    """The sweep in a folder, finished or not.

    Warns:
      of lanes and pictures that are damaged; they are left out.

    Raises:
      JaxstyleError: there is none, or its plan is damaged.
    """
    plan = read_plan(directory)
    if plan is None:
        raise JaxstyleError(f"{directory}: holds no sweep (no {MANIFEST} of the format {FORMAT})")
    names = dict.fromkeys(name for entry in plan["lanes"] for name in entry["labels"])
    labels = [{name: entry["labels"].get(name, "") for name in names} for entry in plan["lanes"]]
    lanes = [read_lane(lane_folder(directory, i), i, each) for i, each in enumerate(labels)]
    return SweepRecord(directory, {**plan, "axes": axes_of(labels)}, lanes)


def read_lane(folder: Path, index: int, labels: Mapping[str, str]) -> LaneRecord:
    """One lane; only files are used whose hash its manifest vouches for."""
    manifest = read_lane_manifest(folder)
    whole = set()
    if manifest.get("status", RUNNING) != RUNNING:
        files = manifest.get("files", {})
        whole = {name for name, digest in files.items() if file_hash(folder / name) == digest}
        for name in sorted(files.keys() - whole):
            warnings.warn(f"{folder / name}: is missing or damaged, and left out", stacklevel=2)
    pictures = {name for name in whole if name.endswith(".png") and is_whole_picture(folder / name)}
    steps = {name: re.fullmatch(r"step-([0-9]{1,9})\.png", name) for name in sorted(pictures)}
    return LaneRecord(
        index=index, labels=labels, manifest=manifest,
        image=folder / IMAGE if IMAGE in pictures else None,
        snapshots={int(match[1]): folder / name for name, match in steps.items() if match},
        metrics=read_metrics(folder / METRICS) if METRICS in whole else [],
    )


def recipe_of(manifest: Mapping[str, Any]) -> Recipe | Training:
    """What a lane ran: a transfer, or the training of a fast network.

    Raises:
      JaxstyleError: neither of them.
    """
    data = manifest["recipe"]
    return training_from_json(data) if data.get("type") == Training.__name__ else recipe_from_json(data)


def read_lane_manifest(folder: Path) -> Mapping[str, Any]:
    """A lane's manifest; empty, with a warning, if it is damaged."""
    path = folder / MANIFEST
    if not os.path.lexists(path):
        return {}
    try:
        manifest: Mapping[str, Any] = parsed(read_bounded(path), LaneManifest, str(path))
        recipe_of(manifest)
    except JaxstyleError as error:
        warnings.warn(f"{error}: the lane is left out", stacklevel=2)
        return {}
    return manifest


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a lane's metrics, all with the names of the first; if one is wrong none, with a warning."""
    try:
        rows = [parsed(line, Row, str(path)) for line in read_bounded(path).splitlines()]
        names = rows[0].keys() if rows else {"step", "total"}
        if not {"step", "total"} <= names or any(row.keys() != names for row in rows):
            raise JaxstyleError(f"{path}: its lines differ in what they name, or lack step or total")
    except JaxstyleError as error:
        warnings.warn(f"{error}: the losses are left out", stacklevel=2)
        return []
    return rows


def is_whole_picture(path: Path) -> bool:
    """Whether a picture can be decoded; warns if not."""
    try:
        with opened(path) as image:
            image.load()
    except JaxstyleError as error:
        warnings.warn(f"{error}: the picture is left out", stacklevel=2)
        return False
    return True
