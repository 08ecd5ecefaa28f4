"""Which files are pictures, and the pictures of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jaxstyle.errors import JaxstyleError

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
"""Suffixes of the picture files that are read and written, with Pillow's names of their formats."""

READ = (*FORMATS, ".ppm")
"""Suffixes of those that are read; frames of research on optical flow are often PPM."""


def is_picture(path: Path) -> bool:
    """Whether a file's name ends like that of a picture."""
    return path.suffix.lower() in READ


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder, by name.

    Raises:
      JaxstyleError: no folder, or no picture in it.
    """
    if not folder.is_dir():
        raise JaxstyleError(f"{folder}: no such folder of pictures")
    found = sorted(path for path in folder.iterdir() if is_picture(path))
    if not found:
        raise JaxstyleError(f"{folder}: there are no pictures in this folder ({', '.join(READ)})")
    return found


def pictures(places: Sequence[Path]) -> list[Path]:
    """Picture files, with folders replaced by the pictures in them.

    Raises:
      JaxstyleError: a folder without pictures.
    """
    return [path for place in places for path in (pictures_in(place) if place.is_dir() else [place])]
