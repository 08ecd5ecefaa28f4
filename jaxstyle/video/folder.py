"""The files of a video while it is made, and of a folder of frames for good.

    DIR/manifest.json   what is made, from what; its status
    DIR/000001.png …    finished frames
    DIR/flow/           optical flow between frames, while it is needed
    DIR/pass-00/ …      results of earlier passes, while they are needed

A frame is there whole or not at all. For a video file DIR is `OUT.part`, and goes when OUT is there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxstyle.atomic import write_whole
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import load, save
from jaxstyle.reading import checked, parsed, read_bounded
from jaxstyle.runs.schema import Headed, VideoManifest

MANIFEST, FLOW = "manifest.json", "flow"
FORMAT = "jaxstyle-video-1"
IDENTITY = ("format", "recipe", "model", "references", "weights", "video")
"""What must not change between a run and its continuation."""
RUNNING, FINISHED = "running", "finished"


def is_video(path: Path) -> bool:
    """Whether an output is a video file; else it is a folder of frames."""
    return bool(path.suffix) and not path.suffix[1:].isdigit()


def work_folder(output: Path) -> Path:
    """Where the frames go."""
    return output.with_name(f"{output.name}.part") if is_video(output) else output


def frame_path(folder: Path, index: int) -> Path:
    """The file of the frame of this index (from 0)."""
    return folder / f"{index + 1:06d}.png"


def begin(folder: Path, manifest: Mapping[str, Any], force: bool) -> int:
    """Makes the folder, or opens it again; returns the number of frames that are there already.

    Raises:
      JaxstyleError: it holds another video, or one that is finished, or other things; with `force` the frames
        of another video make room, but never other things.
    """
    if not folder.exists():
        folder.mkdir(parents=True)
    elif not folder.is_dir():
        raise JaxstyleError(f"{folder}: is a file; a folder of frames needs another name")
    elif any(folder.iterdir()):
        old = read_manifest(folder)
        same = all(old.get(key) == manifest.get(key) for key in IDENTITY)
        if same and old.get("status") == RUNNING:
            return count_done(folder)
        if not force:
            state = "holds this video already, finished" if same else "holds a video with other settings"
            raise JaxstyleError(f"{folder}: {state}; choose another name or allow overwriting", "force")
        empty(folder)
    write_manifest(folder, {**manifest, "status": RUNNING})
    return 0


def empty(folder: Path) -> None:
    """Removes what a video left in its folder, and nothing else."""
    (folder / MANIFEST).unlink(missing_ok=True)
    for path in folder.glob("*.png"):
        if path.stem.isdigit():
            path.unlink()
    tidy(folder)


def tidy(folder: Path) -> None:
    """Removes what is of no use once a video is finished."""
    for part in (folder / FLOW, *folder.glob("pass-[0-9][0-9]")):
        shutil.rmtree(part, ignore_errors=True)


def count_done(folder: Path) -> int:
    """How many frames are there, up to the first that is not."""
    count = 0
    while frame_path(folder, count).is_file():
        count += 1
    return count


def read_frame(folder: Path, index: int, height: int, width: int) -> np.ndarray | None:
    """A finished frame, uint8 `[height, width, 3]`; None if there is none, or none that is whole."""
    path = frame_path(folder, index)
    if not path.is_file():
        return None
    try:
        image = np.rint(load(path) * 255).astype(np.uint8)
    except JaxstyleError:
        return None
    return image if image.shape == (height, width, 3) else None


def write_frame(folder: Path, index: int, image: np.ndarray) -> None:
    """Write a finished frame, uint8 `[H, W, 3]`, whole or not at all."""
    save(frame_path(folder, index), image.astype(np.float32) / 255)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder of frames.

    Raises:
      JaxstyleError: there is none, or one of an unknown format.
    """
    if not (folder / MANIFEST).exists():
        raise JaxstyleError(f"{folder}: is not empty and holds no video by jaxstyle (no {MANIFEST})")
    return manifest_in(read_bounded(folder / MANIFEST), folder / MANIFEST)


def manifest_in(text: bytes | str, path: Path) -> dict[str, Any]:
    """The manifest of a video that JSON text stands for.

    Raises:
      JaxstyleError: it is none, or of another format; it names the field.
    """
    data = parsed(text, Headed, str(path))
    if data["format"] != FORMAT:
        raise JaxstyleError(f"{path}: its manifest is not of the format {FORMAT}")
    found: dict[str, Any] = checked(data, VideoManifest, str(path))
    if ("model" in found) == ("recipe" in found):
        raise JaxstyleError(f"{path}: names a network and a recipe, or neither; one of them made the frames")
    return found


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest of a folder."""
    write_whole(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
