"""`jaxstyle apply`: parsing and printing only."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from rich.console import Console
from tyro.conf import Positional, arg

from jaxstyle.cli.console.terminal import marked
from jaxstyle.cli.running.arguments import Settings
from jaxstyle.errors import JaxstyleError
from jaxstyle.fast.apply import Look, ahead, check_look, pictures, prepared, restyled
from jaxstyle.fast.model import Model, read_model
from jaxstyle.fast.shelf import find_model
from jaxstyle.images.files import load, load_alpha, save
from jaxstyle.images.folder import FORMATS
from jaxstyle.ops.resize import resize
from jaxstyle.transfer.memory import machine_memory, parse_size
from jaxstyle.transfer.recipe import MAX_SIZE

FAILED = 2
SHARE_OF_MEMORY = 0.5


@dataclass(frozen=True)
class Apply:
    """Restyle pictures with a trained network, in milliseconds each."""

    model: Annotated[str, Positional, arg(metavar="MODEL")]
    """A name from `jaxstyle models`, a model's folder, or a .safetensors file."""
    images: Annotated[tuple[str, ...], Positional, arg(metavar="IMAGE ...")]
    """Pictures, folders of them, or patterns such as 'photos/*.jpg'."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="DIR")]
    """Folder for the results, which keep their names."""
    style: Annotated[str | None, arg(metavar="NAME")] = None
    """One style of a model of several; the first if not given."""
    blend: Annotated[str, arg(metavar="A=0.6,B=0.4")] = ""
    """Several styles at once, with their shares."""
    region: Annotated[tuple[str, ...], arg(metavar="MASK.png=STYLE ...")] = ()
    """Styles where masks are white; elsewhere the style or blend."""
    strength: Annotated[float, arg(metavar="0…1")] = 1.0
    """0 leaves the photo, 1 is the style."""
    colors: Literal["style", "keep"] = "style"
    """keep: the photo's colours, with the style's brightness."""
    size: Annotated[int | None, arg(metavar="PIXELS")] = None
    """Longer side of the results; the pictures' own if not given."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of products; bfloat16 is faster on some machines."""
    suffix: Annotated[str, arg(metavar=".png")] = ""
    """Kind of file of the results; that of the pictures if not given."""
    max_memory: Annotated[str | None, arg(metavar="SIZE")] = None
    """Stay within e.g. 2GB: larger pictures are computed in bands, with the same result."""
    force: bool = False
    """Overwrite results that exist."""

    def run(self, settings: Settings, console: Console) -> int:
        """Restyle all pictures; 2 if some could not be."""
        if not self.images:
            raise JaxstyleError("no picture was given; try: jaxstyle apply MODEL photo.jpg -o restyled")
        if self.size is not None and not 1 <= self.size <= MAX_SIZE:
            raise JaxstyleError(f"--size takes at least 1 and at most {MAX_SIZE} pixels, not {self.size}")
        model = read_model(find_model(self.model))
        look = self.look(model)
        check_look(model, look)
        paths = pictures(self.images)
        targets = self.targets(paths)
        ready, failed, began = prepared(model, self.precision), 0, time.monotonic()
        for done, (path, found) in enumerate(ahead(self.opened, paths), start=1):
            if isinstance(found, JaxstyleError):
                console.print(marked("left out:", "red", found))
                failed += 1
                continue
            image, alpha = found
            save(targets[path], restyled(ready, image, look), alpha=alpha, overwrite=self.force)
            pace = (time.monotonic() - began) / done
            console.print(f"{done}/{len(paths)} {targets[path]} ({pace:.2f} s each)", highlight=False,
                          soft_wrap=True)
        if failed:
            console.print(f"{failed} of {len(paths)} pictures were left out", highlight=False)
        return FAILED if failed else 0

    def look(self, model: Model) -> Look:
        """What the options ask for."""
        if self.style and self.blend:
            raise JaxstyleError("give --style or --blend, not both")
        limit = None if self.max_memory is None else parse_size(self.max_memory)
        memory = machine_memory() * SHARE_OF_MEMORY if limit is None else limit
        return Look(blend={self.style: 1.0} if self.style else blended(self.blend),
                    regions=regions(self.region), strength=self.strength, keep_colors=self.colors == "keep",
                    memory=int(memory))

    def opened(self, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
        """A picture at the size asked for, with its transparency where the result can hold it."""
        image, alpha = load(path), None
        if FORMATS.get((self.suffix or path.suffix).lower()) != "JPEG":
            alpha = load_alpha(path)
        if self.size is None:
            return image, alpha
        return (np.asarray(resize(image, self.size)),
                None if alpha is None else np.asarray(resize(alpha, self.size)))

    def targets(self, paths: Iterable[Path]) -> dict[Path, Path]:
        """Where each result goes.

        Raises:
          JaxstyleError: two results of one name, a result that exists, or one in place of its picture.
        """
        try:
            self.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JaxstyleError(f"{self.output}: cannot be made a folder ({error.strerror})") from None
        found: dict[Path, Path] = {}
        for path in paths:
            target = self.output / (path.with_suffix(self.suffix).name if self.suffix else path.name)
            if target in found.values():
                raise JaxstyleError(f"two pictures are called {target.name}; restyle them into different "
                                    "folders")
            if target.exists() and not self.force:
                raise JaxstyleError(f"{target}: exists already; add --force to overwrite it")
            if target.exists() and target.samefile(path):
                raise JaxstyleError(f"{target}: is the picture itself; choose another folder")
            found[path] = target
        return found


def blended(text: str) -> dict[str, float]:
    """`starry=0.6,wave=0.4` as shares.

    Raises:
      JaxstyleError: something else.
    """
    found: dict[str, float] = {}
    for item in filter(None, text.split(",")):
        name, _, number = item.rpartition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            raise JaxstyleError(f"--blend {item}: give STYLE=SHARE, such as starry=0.6,wave=0.4") from None
    return found


def regions(items: Iterable[str]) -> dict[str, np.ndarray]:
    """`mask.png=wave` as masks `[h, w]` by style.

    Raises:
      JaxstyleError: something else, or a mask that cannot be read.
    """
    found: dict[str, np.ndarray] = {}
    for item in items:
        path, _, name = item.rpartition("=")
        if not path or not name:
            raise JaxstyleError(f"--region {item}: give MASK.png=STYLE")
        mask = load(path).mean(-1)
        if name in found and found[name].shape != mask.shape:
            raise JaxstyleError(f"--region {item}: two masks of one style have different sizes")
        found[name] = np.maximum(found.get(name, mask), mask)
    return found
