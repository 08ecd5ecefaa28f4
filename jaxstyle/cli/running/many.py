"""One painting for many photos: a folder in, a folder out, names kept, finished ones left alone."""

from __future__ import annotations

import dataclasses
import glob
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from jaxstyle.cli.console.terminal import marked
from jaxstyle.cli.running.job import Job, state_folder
from jaxstyle.cli.running.render import render
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.decode import opened
from jaxstyle.images.folder import is_picture
from jaxstyle.runs.manifest import manifest
from jaxstyle.runs.replay import read_manifest

FAILED = 2


def is_many(photo: Path) -> bool:
    """Whether a photo's name stands for many: a folder, or a pattern that is not a file's own name."""
    return photo.is_dir() or (glob.has_magic(str(photo)) and not photo.exists())


def photos_in(place: Path) -> list[Path]:
    """The pictures in a folder or of a pattern, those of equal shape together, so that they share programs.

    Raises:
      JaxstyleError: there are none.
    """
    pattern = str(place / "*") if place.is_dir() else str(place)
    found = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]
    photos = [path for path in found if is_picture(path)]
    if not photos:
        where = "in this folder" if place.is_dir() else "of this name"
        raise JaxstyleError(f"{place}: there are no pictures {where}")
    return sorted(photos, key=lambda path: (shape_of(path), str(path)))


def shape_of(path: Path) -> tuple[int, int]:
    """Width and height as the file says; zeros if it cannot."""
    try:
        with opened(path) as image:
            return image.size
    except JaxstyleError:
        return 0, 0


def outputs_for(photos: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """Where each photo's picture goes: its name as PNG, after its old suffix where two would clash.

    Raises:
      JaxstyleError: two photos of the same name in different folders.
    """
    stems = [photo.stem for photo in photos]
    names = [photo.stem if stems.count(photo.stem) == 1 else photo.name for photo in photos]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise JaxstyleError(f"{twice}: two photos are called so; their pictures would overwrite each other")
    return {photo: folder / f"{name}.png" for photo, name in zip(photos, names)}


def render_many(photos: Sequence[Path], folder: Path, job: Callable[[Path, Path], Job], force: bool,
                console: Console) -> int:
    """Renders one photo after the other; returns the exit code: 2 if some failed, else that of an interrupt.

    A picture that is there and finished, of the same recipe, pictures and weights, is left alone, and one
    that was interrupted goes on, so that the same command can be run again. A photo that cannot be read is
    reported and passed over.

    Args:
      job: makes the job of a photo and its output.

    Raises:
      JaxstyleError: the folder cannot be made, or a picture that is there was made otherwise.
    """
    outputs = outputs_for(photos, folder)
    if not folder.absolute().parent.is_dir():
        raise JaxstyleError(f"{folder}: the folder that it is to be in does not exist")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise JaxstyleError(f"{folder}: cannot be the folder for the pictures ({error.strerror})") from None
    failed = 0
    for number, photo in enumerate(photos, 1):
        output = outputs[photo]
        console.print(marked(f"{number}/{len(photos)}", "bold", f"{photo} → {output}"))
        try:
            given = job(photo, output)
            if output.exists() and not force and made_so(output, given):
                console.print("is there already")
                continue
            going_on = state_folder(output).exists() and not force
            if code := render(dataclasses.replace(given, resume=going_on), console):
                return code
        except Clash:
            raise
        except JaxstyleError as error:
            failed += 1
            console.print(marked("passed over:", "red", error))
    if failed:
        console.print(f"{failed} of {len(photos)} photos could not be painted")
    return FAILED if failed else 0


class Clash(JaxstyleError):
    """A picture that is in the way."""


def made_so(output: Path, job: Job) -> bool:
    """Whether a picture is the finished result of a job, whatever memory it was given; false if that was
    interrupted.

    Raises:
      Clash: it is of something else.
    """
    clash = Clash(f"{output}: exists already, made otherwise; add --force to overwrite it")
    try:
        found = read_manifest(output)
    except JaxstyleError:
        raise clash from None
    wanted = json.loads(json.dumps(manifest(job.recipe, job.files, job.weights)))
    ours, theirs = (what_was_made(data) for data in (wanted, found))
    if ours != theirs:
        raise clash
    return bool(found.get("status") == "finished")


def what_was_made(data: dict[str, Any]) -> dict[str, Any]:
    """The part of a manifest that says what a picture is of, without how much memory its run was given."""
    recipe = {key: value for key, value in data["recipe"].items() if key != "rows"}
    recipe["solver"] = {key: value for key, value in recipe["solver"].items() if key != "history"}
    return {"recipe": recipe, "weights": data["weights"]["sha256"],
            "references": {key: hashes_in(value) for key, value in data["references"].items()}}


def hashes_in(entry: Any) -> Any:
    """What an entry of a manifest's references is, wherever it lies."""
    if isinstance(entry, list):
        return [hashes_in(one) for one in entry]
    return entry.get("sha256") if isinstance(entry, dict) else entry
