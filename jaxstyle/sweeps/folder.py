"""The files of a sweep: a folder with a plan, and a folder for each lane.

    DIR/manifest.json            what is to be run: axes, lanes, versions; its status
    DIR/lanes/0003/manifest.json the lane's recipe, inputs by hash, status, losses, times
    DIR/lanes/0003/image.png     its result (with a manifest inside, for `jaxstyle replay`)
    DIR/lanes/0003/step-00100.png  snapshots
    DIR/lanes/0003/metrics.jsonl losses after every step
    DIR/lanes/0003/state/        while it runs: its checkpoints (`runs.checkpoints`)

Every file appears whole or not at all, and a lane's manifest is the last one written, with the hashes of the
others; so whatever is there after a kill is either complete or recognised as not.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxstyle.atomic import write_whole
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import save
from jaxstyle.reading import checked, parsed, read_bounded, shown
from jaxstyle.runs.checkpoints import drop_checkpoints
from jaxstyle.runs.manifest import TEXT_KEY, fingerprint
from jaxstyle.runs.schema import Headed, LaneManifest, Plan
from jaxstyle.sweeps.plan import Labelled, varied_paths
from jaxstyle.weights.store import sha256

FORMAT = "jaxstyle-sweep-2"
MANIFEST, METRICS, IMAGE, STATE = "manifest.json", "metrics.jsonl", "image.png", "state"
INPUTS = "inputs"
"""Folder inside a sweep's for pictures made for it, which may be there before it."""
FINISHED, FAILED, RUNNING, STOPPED = "finished", "failed", "running", "stopped"


@dataclass
class History:
    """What a lane went through, step by step: the step, wall seconds since its start, and losses."""

    steps: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    losses: dict[str, list[float]] = field(default_factory=dict)

    def add(self, steps: Sequence[int], seconds: Sequence[float], losses: Mapping[str, Any]) -> None:
        """Note some steps."""
        self.steps += map(int, steps)
        self.seconds += (round(float(second), 4) for second in seconds)
        for name, values in losses.items():
            self.losses.setdefault(name, []).extend(float(value) for value in values)

    def lines(self) -> str:
        """One JSON object per step."""
        names = list(self.losses)
        rows = zip(self.steps, self.seconds, *self.losses.values())
        return "".join(json.dumps({"step": step, "seconds": seconds, **dict(zip(names, map(finite, values)))})
                       + "\n" for step, seconds, *values in rows)


def finite(value: float) -> float | None:
    """The number, or None where JSON has no word for it."""
    return value if np.isfinite(value) else None


def write_json(path: Path, data: Any) -> None:
    """Write JSON, atomically."""
    text = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
    write_whole(path, text.encode(errors="backslashreplace"))  # as JSON escapes what UTF-8 cannot say


def read_json(path: Path, form: Any = dict[str, Any]) -> Any:
    """JSON of a file, of a form of `runs.schema`; None if it is missing, damaged or of another form."""
    try:
        return parsed(read_bounded(path), form, str(path))
    except JaxstyleError:
        return None


def read_plan(directory: Path) -> Plan | None:
    """The plan in a sweep's folder; None if there is no such file.

    Raises:
      JaxstyleError: the file is no plan of this version; the message names the field that is wrong.
    """
    path = directory / MANIFEST
    if not os.path.lexists(path):
        return None
    data = parsed(read_bounded(path), Headed, str(path))
    if data["format"] != FORMAT:
        if data["format"].startswith("jaxstyle-sweep-"):
            raise JaxstyleError(f"{directory}: holds a sweep of another version of jaxstyle "
                                f"({shown(data['format'])}, here {FORMAT}); choose another folder")
        raise holds_another(directory)
    plan: Plan | None = checked(data, Plan, str(path))
    return plan


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, if need be.

    Raises:
      JaxstyleError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", error)
        if os.path.isfile(folder):
            reason = "a file of this name is there"
        raise JaxstyleError(f"{shown(folder)}: this folder cannot be made or written ({reason}); choose "
                            "another with -o") from None


def write_plan(directory: Path, lanes: Sequence[Labelled], records: Sequence[Mapping[str, Any]], title: str,
               about: str = "", more: Mapping[str, Any] | None = None) -> None:
    """Record what a sweep is to do, before any work; a folder that holds the same plan is taken over.

    Args:
      more: further entries of the plan.

    Raises:
      JaxstyleError: the folder holds something else.
    """
    prints = [fingerprint(record) for record in records]
    old = held_plan(directory)
    if old is not None and [lane["fingerprint"] for lane in old["lanes"]] != prints:
        raise holds_another(directory)
    entries = [{"labels": dict(lane.labels), "fingerprint": key} for lane, key in zip(lanes, prints)]
    make_folder(directory)
    write_json(directory / MANIFEST, {
        "format": FORMAT, "title": title, "about": about, "status": RUNNING,
        "axes": axes_of([lane.labels for lane in lanes]), "varied": varied_paths(lanes), "lanes": entries,
        "created": old["created"] if old else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": records[0]["versions"], "device": records[0]["device"], "devices": jax.device_count(),
        **(more or {}),
    })


def held_plan(directory: Path) -> Plan | None:
    """The plan that a folder holds; None if it is not there, or empty but for pictures made for the sweep
    and what a kill may have left of the first plan.

    Raises:
      JaxstyleError: the folder holds something else.
    """
    if not os.path.isdir(directory):
        return None
    try:
        others = list(directory.iterdir())
    except OSError as error:
        reason = f"cannot be read ({error.strerror}); choose another folder"
        raise JaxstyleError(f"{directory}: {reason}") from None
    plan = read_plan(directory)
    if plan is None and any(path.name != INPUTS and path.suffix != ".tmp" for path in others):
        raise JaxstyleError(f"{directory}: is not empty and holds no sweep; choose another folder with -o")
    return plan


def holds_another(directory: Path) -> JaxstyleError:
    """What is said of a folder that belongs to another sweep."""
    return JaxstyleError(f"{directory}: holds another sweep; choose another folder with -o")


def axes_of(lanes: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Names and values of the axes, from the labels of the lanes and in their order."""
    values: dict[str, dict[str, None]] = {}
    for lane in lanes:
        for name, label in lane.items():
            values.setdefault(name, {})[label] = None
    return [{"name": name, "values": list(labels)} for name, labels in values.items()]


def lane_folder(directory: Path, index: int) -> Path:
    """Where a lane's files are."""
    return directory / "lanes" / f"{index:04d}"


def is_finished(folder: Path, record: Mapping[str, Any]) -> bool:
    """Whether a folder holds the whole result of the lane that `record` describes."""
    found = read_json(folder / MANIFEST, LaneManifest)
    if found is None or found["status"] not in (FINISHED, FAILED, STOPPED):
        return False
    if found.get("fingerprint") != fingerprint(record):
        return False
    return all(file_hash(folder / name) == digest for name, digest in found.get("files", {}).items())


def update_plan(directory: Path, **entries: Any) -> None:
    """Change entries of a sweep's plan, such as its status."""
    write_json(directory / MANIFEST, {**(read_plan(directory) or {}), **entries})


def file_hash(path: Path) -> str | None:
    """Hex SHA-256 of a file; None if it cannot be read."""
    try:
        return sha256(path)
    except JaxstyleError:
        return None


def write_result(folder: Path, record: Mapping[str, Any], image: np.ndarray | None, history: History) -> None:
    """Write a lane's result: image and metrics first, then the manifest that vouches for them."""
    if image is not None:
        save(folder / IMAGE, image, text={TEXT_KEY: json.dumps(record)})
    write_whole(folder / METRICS, history.lines().encode())
    names = sorted(path.name for path in folder.iterdir()
                   if path.suffix == ".png" or path.name == METRICS)
    files = {name: file_hash(folder / name) for name in names}
    write_json(folder / MANIFEST, {**record, "files": files})
    drop_checkpoints(folder / STATE)
