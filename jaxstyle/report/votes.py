"""Judging by people: which of two results of one photo and painting somebody prefers, and what that adds up
to.

Votes are lines of JSON in `votes.jsonl` in a run's folder, each flushed to the disk before it is
acknowledged. A question is a voter and two pictures, known by their hashes; its id follows from these, so
however often an answer arrives, whatever is started again, it counts once: the first time.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import os
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict

import numpy as np

from jaxstyle.errors import JaxstyleError
from jaxstyle.metrics.preferences import bradley_terry, chances, wilson
from jaxstyle.reading import parsed, read_bounded
from jaxstyle.report.data import LaneRecord, read_sweep
from jaxstyle.runs.manifest import recorded_entries
from jaxstyle.runs.schema import Labels, Sha256, Short
from jaxstyle.sweeps.folder import file_hash

VOTES = "votes.jsonl"
CHOICES = ("left", "right", "neither")
RUN = "run"
"""Axis of the folders, where there are several."""


class Vote(TypedDict):
    """A line of votes.jsonl: pictures by hash, with the labels that their lanes had."""

    id: Sha256
    voter: Short
    time: Short
    left: Sha256
    right: Sha256
    choice: Literal["left", "right", "neither"]
    left_labels: Labels
    right_labels: Labels


@dataclass(frozen=True)
class Contestant:
    """A result that can be voted on.

    Attributes:
      labels: name of each axis -> value; image: the picture; sha256: of its file.
      pair: which photo and paintings it was made from; photo, paintings: these, where they still are.
    """

    labels: Mapping[str, str]
    image: Path
    sha256: str
    pair: str
    photo: Path | None
    paintings: tuple[Path, ...]


@dataclass(frozen=True)
class Question:
    """Which of two a voter prefers."""

    id: str
    left: Contestant
    right: Contestant


class Standing(NamedTuple):
    """What votes say of one value of an axis: wins (draws are halves) and votes against other values, the
    interval of its share of wins, and its chance to be preferred to the average value with interval."""

    value: str
    wins: float
    votes: int
    share: tuple[float, float]
    chance: tuple[float, float, float]


def contestants(folders: Sequence[Path], inputs: Sequence[Path] = ()) -> list[Contestant]:
    """The results in the folders of sweeps.

    Args:
      inputs: pictures among which photos and paintings are that no longer lie where the runs say; known by
        their hashes.

    Raises:
      JaxstyleError: a folder holds no sweep.
    """
    resolved = [folder.resolve() for folder in folders]
    plain = len({folder.name for folder in resolved}) == len(resolved)
    known = {str(file_hash(path)): path for path in inputs}
    found = []
    for given, folder in zip(folders, resolved):
        run = {RUN: folder.name if plain else str(given)} if len(folders) > 1 else {}
        for lane in read_sweep(given).lanes:
            if lane.image is not None:
                found.append(_contestant(lane, run, known))
    return found


def _contestant(lane: LaneRecord, run: Mapping[str, str], known: Mapping[str, Path]) -> Contestant:
    assert lane.image is not None
    whole: dict[str, list[Path]] = {}
    for kind, entry in recorded_entries(lane.manifest.get("references", {})):
        path = known.get(entry["sha256"], lane.image.parent / entry["path"])
        # A folder of somebody else's may name any file of this machine.
        if file_hash(path) == entry["sha256"]:
            whole.setdefault(kind, []).append(path)
    return Contestant(labels={**run, **lane.labels}, image=lane.image, sha256=str(file_hash(lane.image)),
                      pair=lane.pair, photo=next(iter(whole.get("photo", [])), None),
                      paintings=tuple(whole.get("style", ())))


def question_id(voter: str, one: str, other: str) -> str:
    """The id of a question, whichever of the two pictures comes first."""
    return hashlib.sha256("\0".join([voter, *sorted((one, other))]).encode()).hexdigest()


def questions(those: Sequence[Contestant], voter: str, votes: Iterable[Vote] = ()) -> list[Question]:
    """All that a voter can be asked: two different results of the same pictures each.

    Those about which the fewest have voted come first, otherwise in an order of each voter's own; so do left
    and right change sides.
    """
    counts: dict[frozenset[str], int] = {}
    for vote in votes:
        key = frozenset((vote["left"], vote["right"]))
        counts[key] = counts.get(key, 0) + 1
    made: dict[str, Question] = {}
    for one, other in itertools.combinations(those, 2):
        if one.pair == other.pair and one.sha256 != other.sha256:
            name = question_id(voter, one.sha256, other.sha256)
            swapped = int(name[-1], 16) % 2
            made.setdefault(name, Question(name, *((other, one) if swapped else (one, other))))
    return sorted(made.values(), key=lambda question: (
        counts.get(frozenset((question.left.sha256, question.right.sha256)), 0), question.id))


def read_votes(folders: Sequence[Path]) -> list[Vote]:
    """The votes in some folders, each question's first alone.

    Warns:
      of lines that are damaged, as a power cut can leave the last; they are left out.
    """
    found: dict[str, Vote] = {}
    for path in (folder / VOTES for folder in folders):
        if not os.path.lexists(path):
            continue
        for number, line in enumerate(read_bounded(path).splitlines(), 1):
            if not line.strip():
                continue
            try:
                vote = parsed(line, Vote, f"{path}, line {number}")
            except JaxstyleError as error:
                warnings.warn(f"{error}: the vote is left out", stacklevel=2)
                continue
            found.setdefault(vote["id"], vote)
    return list(found.values())


def cast(folder: Path, question: Question, voter: str, choice: str) -> Vote:
    """Append a vote to the file in a run's folder; when this returns, it is on the disk.

    Raises:
      JaxstyleError: no such choice, or the file cannot be written.
    """
    if choice not in CHOICES:
        raise JaxstyleError(f"choice takes {', '.join(CHOICES)}, not {choice[:40]!r}")
    said: Any = {
        "id": question.id, "voter": voter, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "left": question.left.sha256, "right": question.right.sha256, "choice": choice,
        "left_labels": dict(question.left.labels), "right_labels": dict(question.right.labels),
    }
    path = folder / VOTES
    try:
        with open(path, "a+b") as file:
            torn = file.tell() > 0 and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n"
            file.write(b"\n" * torn + json.dumps(said, ensure_ascii=True).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise JaxstyleError(f"{path}: the vote cannot be written ({error.strerror}); check permissions and "
                            "space in its folder") from None
    vote: Vote = said
    return vote


def axes_of(those: Sequence[Contestant]) -> list[str]:
    """The axes on which results differ."""
    values: dict[str, set[str]] = {}
    for one in those:
        for name, value in one.labels.items():
            values.setdefault(name, set()).add(value)
    return [name for name, some in values.items() if len(some) > 1]


def standings(those: Sequence[Contestant], votes: Iterable[Vote], axis: str) -> list[Standing]:
    """What votes about these pictures say of the values of an axis, the most preferred first.

    Only votes between different values count, and only those about pictures that are there as they were.
    """
    labels = {one.sha256: one.labels.get(axis, "") for one in those}
    values = list(dict.fromkeys(labels.values()))
    wins = np.zeros((len(values), len(values)))
    for vote in votes:
        if vote["left"] not in labels or vote["right"] not in labels:
            continue
        left, right = (values.index(labels[vote[side]]) for side in ("left", "right"))
        if left != right:
            share = {"left": 1.0, "right": 0.0, "neither": 0.5}[vote["choice"]]
            wins[left, right] += share
            wins[right, left] += 1 - share
    games = (wins + wins.T).sum(1)
    chance = chances(bradley_terry(wins))
    rows = [Standing(value, float(wins[i].sum()), int(games[i]), wilson(wins[i].sum(), games[i]),
                     (float(chance[i, 0]), float(chance[i, 1]), float(chance[i, 2])))
            for i, value in enumerate(values)]
    return sorted(rows, key=lambda row: -row.chance[1])


def standings_csv(tables: Mapping[str, Sequence[Standing]]) -> str:
    """A row for each value of each axis."""
    rows: list[list[Any]] = [["axis", "value", "wins", "votes", "share", "share_low", "share_high", "chance",
                              "chance_low", "chance_high"]]
    for axis, table in tables.items():
        rows += [[axis, row.value, row.wins, row.votes, row.wins / row.votes if row.votes else "", *row.share,
                  row.chance[1], row.chance[0], row.chance[2]] for row in table]
    return _csv(rows)


def votes_csv(votes: Sequence[Vote]) -> str:
    """A row for each vote, with a column for either side's value of each axis."""
    sides = [vote[side] for vote in votes for side in ("left_labels", "right_labels")]
    names = list(dict.fromkeys(name for labels in sides for name in labels))
    rows = [["id", "time", "voter", "choice", *(f"left {name}" for name in names),
             *(f"right {name}" for name in names)]]
    rows += [[vote["id"], vote["time"], vote["voter"], vote["choice"],
              *(vote["left_labels"].get(name, "") for name in names),
              *(vote["right_labels"].get(name, "") for name in names)] for vote in votes]
    return _csv(rows)


def _csv(rows: Iterable[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()
