"""Where models lie: the user's folder and those that come with the package."""

from __future__ import annotations

import os
from pathlib import Path

from jaxstyle.errors import JaxstyleError
from jaxstyle.fast.model import CARD_FILE
from jaxstyle.weights import SUFFIX
from jaxstyle.weights.store import bundled_dir, cache_dir

FOLDER = "models"


def shelves() -> tuple[Path, ...]:
    """Folders that are looked through for a name, the user's first."""
    return cache_dir() / FOLDER, bundled_dir() / FOLDER


def models() -> dict[str, Path]:
    """Every model that is found by name, with its file or folder."""
    found: dict[str, Path] = {}
    for shelf in reversed(shelves()):
        for path in sorted(shelf.glob("*")) if shelf.is_dir() else ():
            if path.suffix == SUFFIX or (path / CARD_FILE).is_file():
                found[path.stem if path.is_file() else path.name] = path
    return found


def find_model(name: str | os.PathLike[str]) -> Path:
    """The file or folder of a model, by path or by name.

    Raises:
      JaxstyleError: there is none; the message names those that are there.
    """
    path = Path(name)
    if path.exists():
        return path
    known = models()
    if str(name) in known:
        return known[str(name)]
    if path.suffix == SUFFIX or len(path.parts) > 1:
        raise JaxstyleError(f"{path}: no such model")
    there = f"there are: {', '.join(known)}" if known else "there is none yet"
    raise JaxstyleError(f"no model called '{name}' ({there}); `jaxstyle train` makes one")
