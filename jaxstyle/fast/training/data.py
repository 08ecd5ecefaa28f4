"""Photos to train on: found, held out, decoded, cropped and turned, the same way in every run.

Everything is a function of the seed and of the position in the stream, so that an iterator that was saved
(`get_state`) and restored (`set_state`) goes on as if it had never stopped.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grain
import numpy as np
from PIL import Image

from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import load
from jaxstyle.images.folder import READ

# Every so many files one is held out, and never more than MOST_HELD_OUT.
HELD_OUT_EVERY, MOST_HELD_OUT = 16, 16
THREADS, BUFFERED = 2, 16


def photo_files(folder: str | os.PathLike[str]) -> tuple[Path, ...]:
    """Every picture under a folder, sorted; files of other kinds do not count.

    Raises:
      JaxstyleError: no such folder, or no picture in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise JaxstyleError(f"{folder}: is no folder; photos to train on are given as one folder")
    files = tuple(sorted(path for path in root.rglob("*")
                         if path.suffix.lower() in READ and path.is_file()))
    if not files:
        raise JaxstyleError(f"{folder}: holds no pictures ({', '.join(READ)})")
    return files


def split(files: Sequence[Path], seed: int = 0) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Photos to train on and photos held out: one in sixteen, at most 16; of a single photo none."""
    count = min(MOST_HELD_OUT, len(files) // HELD_OUT_EVERY or len(files) // 2)
    chosen = set(np.random.default_rng(seed).permutation(len(files))[:count].tolist())
    return (tuple(path for i, path in enumerate(files) if i not in chosen),
            tuple(path for i, path in enumerate(files) if i in chosen))


def listing_sha256(files: Sequence[Path], root: str | os.PathLike[str]) -> str:
    """Hex SHA-256 of the names and sizes of files under `root`: whether they are the same photos."""
    lines = (f"{path.relative_to(root).as_posix()} {path.stat().st_size}" for path in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def crop(photo: np.ndarray, size: int, least_scale: float, rng: np.random.Generator) -> np.ndarray:
    """A random square of a photo `[H, W, 3]`, half the time mirrored, `[size, size, 3]` float32.

    Args:
      least_scale: the photo is made smaller by a random factor from here to 1 first, but never so small that
        the square does not fit; a photo that is too small is enlarged.
    """
    height, width, _ = photo.shape
    scale = rng.uniform(least_scale, 1.0)
    side = min(max(size, round(size / scale)), height, width)
    y, x = (int(rng.integers(n - side + 1)) for n in (height, width))
    square = photo[y:y + side, x:x + side]
    if rng.random() < 0.5:
        square = square[:, ::-1]
    return square.astype(np.float32) if side == size else resized(square, size, size)


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """An image `[H, W, 3]` at another size by Lanczos' kernel, in [0, 1]; NumPy, for threads that load."""
    bands = [np.asarray(Image.fromarray(np.ascontiguousarray(image[..., c], np.float32)).resize(
        (width, height), Image.Resampling.LANCZOS)) for c in range(image.shape[2])]
    picture: np.ndarray = np.clip(np.stack(bands, -1), 0, 1)
    return picture


class Photos:
    """An endless shuffled stream of batches of crops, whose place can be saved.

    The one object here with a state: it reads files ahead in threads. Files that cannot be decoded are left
    out and listed in `skipped`.

    Args:
      files: the photos; size: side of the crops; batch: crops at a time; least_scale: see `crop`.
      part: (index, count) of this process, where several share the photos.
    """

    def __init__(self, files: Sequence[Path], *, size: int, batch: int, seed: int = 0,
                 least_scale: float = 0.5, part: tuple[int, int] = (0, 1)) -> None:
        self.files = tuple(files[part[0]::part[1]])
        if not self.files:
            raise JaxstyleError(f"{len(files)} photos are too few for {part[1]} processes; add photos")
        self.skipped: dict[str, str] = {}
        dataset: Any = grain.MapDataset.source([str(path) for path in self.files])
        dataset = dataset.seed(seed + part[0]).shuffle().repeat()
        dataset = dataset.map(self._decoded).random_map(
            lambda photo, rng: None if photo is None else crop(photo, size, least_scale, rng))
        options = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=BUFFERED)
        self._iterator = iter(dataset.to_iter_dataset(options).batch(batch, drop_remainder=True))

    def _decoded(self, path: str) -> np.ndarray | None:
        """The photo in a file, or None, noted in `skipped`.

        Raises:
          JaxstyleError: no file can be decoded.
        """
        try:
            return load(path)
        except JaxstyleError as error:
            self.skipped[path] = str(error)
        if len(self.skipped) == len(self.files):
            raise JaxstyleError(f"none of {len(self.files)} photos can be decoded; the first: "
                                f"{self.skipped[str(self.files[0])]}")
        return None

    def __next__(self) -> np.ndarray:
        """The next batch `[batch, size, size, 3]`, float32 in [0, 1]."""
        return next(self._iterator)

    def get_state(self) -> dict[str, Any]:
        """The place in the stream, and what was left out so far; goes through JSON."""
        return {"iterator": self._iterator.get_state(), "skipped": dict(self.skipped)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from a saved place."""
        self.skipped.update(state["skipped"])
        self._iterator.set_state(state["iterator"])

    def close(self) -> None:
        """Stops the threads that read ahead."""
        self._iterator.close()


def held_out_squares(files: Sequence[Path], size: int) -> tuple[np.ndarray, dict[str, str]]:
    """Central squares of photos, `[n, size, size, 3]`, and why any file is missing."""
    squares, skipped = [], {}
    for path in files:
        try:
            photo = load(path)
        except JaxstyleError as error:
            skipped[str(path)] = str(error)
            continue
        side = min(photo.shape[:2])
        y, x = ((n - side) // 2 for n in photo.shape[:2])
        squares.append(resized(photo[y:y + side, x:x + side], size, size))
    return np.stack(squares) if squares else np.zeros((0, size, size, 3), np.float32), skipped


@dataclass(frozen=True)
class Gathered:
    """A folder of photos, ready to train with.

    Attributes:
      photos: the stream; held_out: squares `[n, S, S, 3]`; skipped: why held-out files are missing;
      sha256: of the listing.
    """

    photos: Photos
    held_out: np.ndarray
    skipped: dict[str, str]
    sha256: str


def gathered(folder: str | os.PathLike[str], *, size: int, batch: int, seed: int, least_scale: float,
             part: tuple[int, int] = (0, 1)) -> Gathered:
    """The photos of a folder, split into a stream of crops and those held out; see `Photos`.

    Raises:
      JaxstyleError: no such folder, or no pictures in it.
    """
    files = photo_files(folder)
    used, kept = split(files, seed)
    squares, skipped = held_out_squares(kept, size)
    photos = Photos(used, size=size, batch=batch, seed=seed, least_scale=least_scale, part=part)
    return Gathered(photos, squares, skipped, listing_sha256(files, folder))
