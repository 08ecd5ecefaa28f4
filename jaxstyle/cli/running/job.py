"""A picture to be made, and the files that it will be."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.cli.console.preview import Live
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.folder import is_picture
from jaxstyle.reading import shown as shortened
from jaxstyle.references import References
from jaxstyle.runs.manifest import Files
from jaxstyle.transfer.layout import Devices
from jaxstyle.transfer.recipe import Recipe


@dataclass(frozen=True)
class Job:
    """A picture to be made.

    Attributes:
      files: where the references come from; every: steps after which to write a picture, too.
      limit: bytes to stay within (see `memory_budget`), if need be by means of `transfer.memory.smaller`.
      as_it_was: a replay, which runs the recipe as it is, whatever it needs.
      resume: go on from the state that an interrupted run left beside `output`.
      force: `output` may be replaced (by a resumed run too, whose own picture it is).
      devices: over which the image is split; save_seconds: how often the state is saved.
      live: a page to show it on, whose button stops it as Ctrl-C does.
    """

    weights: Weights
    references: References
    recipe: Recipe
    files: Files
    output: Path
    every: int | None = None
    keep_alpha: bool = False
    limit: int | None = None
    devices: Devices = ()
    as_it_was: bool = False
    resume: bool = False
    force: bool = False
    save_seconds: float = 30.0
    live: Live | None = None


LONGEST_NAME = 200
"""Bytes; file systems take 255, and snapshots have longer names than the result."""


def state_folder(output: Path) -> Path:
    """Where the state of an unfinished run is, beside its picture."""
    return output.with_name(f"{output.name}.state")


def snapshot_path(output: Path, step: int) -> Path:
    """Where the picture after `step` steps goes."""
    return output.with_name(f"{output.stem}-{step:05d}{output.suffix}")


def check_output(path: Path, force: bool, snapshots: Sequence[Path] = (), resume: bool = False) -> None:
    """Raise before any work if the picture (or one of its `snapshots`) could not be written in the end.

    Raises:
      JaxstyleError: the file (or the state of an interrupted run) exists and `force` is not set, its folder
        is missing, or its type is unknown.
    """
    if not is_picture(path):
        raise JaxstyleError(f"{path}: cannot write this kind of file; use .png, .jpg, .webp or .tiff")
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise JaxstyleError(f"{shortened(path)}: this name is longer than {LONGEST_NAME} bytes")
    if (folder := os.path.isdir(path)) or not os.path.isdir(path.parent):
        raise JaxstyleError(f"{path}: {'is a folder' if folder else 'its folder does not exist'}")
    if not os.access(path.parent, os.W_OK):
        raise JaxstyleError(f"{path}: its folder cannot be written to")
    state = state_folder(path)
    if state.exists() and not force and not resume:
        raise JaxstyleError(f"{state}: an interrupted run left its state there; add --resume to go on with "
                            "it, or --force to start anew")
    for existing in (path, *snapshots):
        if existing.exists() and not force and not (resume and state.exists()):
            raise JaxstyleError(f"{existing}: exists already; add --force to overwrite it")
