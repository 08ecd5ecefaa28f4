"""The form of what runs write and read back: manifests in pictures, plan and lanes of a sweep's folder.

A version number stands in `format`. Version 1 of manifests named inputs by their whole path on the maker's
machine; version 2 names them relative to the picture. Both are read.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
FileName = Annotated[str, Meta(min_length=1, max_length=4096, pattern="^[^\\x00]*$")]
Short = Annotated[str, Meta(max_length=4096)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Ratio = Annotated[str, Meta(pattern="^[0-9]{1,9}(/[1-9][0-9]{0,8})?$")]
Number = float | None
Labels = dict[Short, Short]


class Headed(TypedDict):
    """Anything that says of what version it is."""

    format: Short


class Input(TypedDict):
    """A reference file."""

    path: FileName
    sha256: Sha256


class Inputs(TypedDict):
    """All reference files of a run."""

    content: Input | None
    styles: list[Input]
    start: NotRequired[Input | None]
    content_map: NotRequired[Input | None]
    style_maps: NotRequired[list[Input]]
    regions: NotRequired[list[Input | None]]
    style_regions: NotRequired[list[Input | None]]
    content_mask: NotRequired[Input | None]
    strength_mask: NotRequired[Input | None]
    feather: NotRequired[Annotated[float, Meta(ge=0, le=1)]]


class Network(TypedDict):
    """Weights; the hash is empty where they are random numbers made in place."""

    name: FileName
    sha256: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")]


class Manifest(TypedDict):
    """What a picture carries."""

    format: Literal["jaxstyle-run-1", "jaxstyle-run-2"]
    recipe: dict[str, Any]
    references: Inputs
    weights: Network
    versions: NotRequired[dict[str, Short]]
    device: NotRequired[Short]
    keep_alpha: NotRequired[bool]


class LaneManifest(Manifest):
    """What lies in a lane's folder."""

    status: Literal["running", "finished", "failed", "stopped"]
    fingerprint: NotRequired[Sha256]
    labels: NotRequired[Labels]
    files: NotRequired[dict[Annotated[str, Meta(pattern="^[A-Za-z0-9._-]{1,64}$")], Sha256]]
    steps: NotRequired[Count]
    failures: NotRequired[Count]
    lanes_in_batch: NotRequired[Count]
    seconds: NotRequired[Number]
    compile_seconds: NotRequired[Number]
    batch_seconds: NotRequired[Number]
    loss: NotRequired[Number]
    parts: NotRequired[dict[Short, Number]]
    distances: NotRequired[dict[Short, Number]]
    distortion: NotRequired[Number]
    repetition: NotRequired[Number]
    judge: NotRequired[Network]
    reason: NotRequired[Short]


class Axis(TypedDict):
    """Something that a sweep varies."""

    name: Short
    values: list[Short]


class PlannedLane(TypedDict):
    """A lane as the plan names it."""

    labels: Labels
    fingerprint: Sha256


class Round(TypedDict):
    """A round of a search."""

    step: Count
    ran: list[Count]
    points: dict[Annotated[str, Meta(pattern="^[0-9]{1,9}$")], Annotated[list[Number], Meta(min_length=2,
                                                                                         max_length=2)]]
    kept: list[Count]


class Search(TypedDict):
    """What a search asked for and has decided."""

    asked: dict[str, Any]
    recipes: list[dict[str, Any]]
    rungs: list[Round]


class Plan(TypedDict):
    """What lies in a sweep's folder."""

    format: Literal["jaxstyle-sweep-2"]
    title: Short
    about: NotRequired[str]
    status: Literal["running", "finished"]
    axes: list[Axis]
    varied: NotRequired[list[Short]]
    lanes: Annotated[list[PlannedLane], Meta(max_length=100_000)]
    created: Short
    versions: dict[str, Short]
    device: Short
    devices: NotRequired[Count]
    tune: NotRequired[Search]


Row = dict[Short, float | None]
"""A line of metrics.jsonl."""


class Footage(TypedDict):
    """Which part of what a video was made of, and how."""

    source: Input
    start: Ratio
    end: Ratio | None
    every: Annotated[int, Meta(ge=1, le=10**6)]
    rate: Ratio
    size: Annotated[int, Meta(ge=1, le=65_535)] | None
    stabilise: NotRequired[Annotated[float, Meta(ge=0, le=1)] | None]
    blend: NotRequired[Short]
    flow: FileName | None
    even: bool


class VideoManifest(TypedDict):
    """What a video, or a folder of its frames, carries: made by a recipe or by a fast network."""

    format: Short
    video: Footage
    recipe: NotRequired[dict[str, Any]]
    references: NotRequired[Inputs]
    weights: NotRequired[Network]
    model: NotRequired[Input]
    status: NotRequired[Short]
    versions: NotRequired[dict[str, Short]]
    device: NotRequired[Short]
