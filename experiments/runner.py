"""What all experiments share: options, lanes, and the run with its report.

An experiment is a docstring and a function `lanes(setup)`; `main` does the rest.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from tyro.conf import arg

from jaxstyle import JaxstyleError, load, recipes, replace, save
from jaxstyle.report.page import write_report
from jaxstyle.runs.manifest import Files
from jaxstyle.sweeps.batches import Options, Progress
from jaxstyle.sweeps.folder import INPUTS
from jaxstyle.sweeps.plan import Lane, for_sweeps
from jaxstyle.sweeps.runner import run_sweep
from jaxstyle.transfer.platform import use_compilation_cache, use_host_devices
from jaxstyle.transfer.recipe import Recipe
from jaxstyle.transfer.translation import translated
from jaxstyle.weights.store import best_available, load_weights

STYLE_LAYERS = recipes.STYLE_LAYERS
QUICK_SIZE, QUICK_STEPS = 64, 30
LOG_SECONDS = 10.0


@dataclass(frozen=True)
class Setup:
    """Options of every experiment."""

    content: Annotated[Path, arg(metavar="PHOTO")]
    """The photo."""
    style: Annotated[tuple[Path, ...], arg(metavar="PAINTING ...")]
    """The painting; experiments on several styles take two."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="DIR")]
    """Folder for the results and the report."""
    content_map: Annotated[Path | None, arg(metavar="MAP")] = None
    """What is where in the photo, as flat colours; for experiments on semantic maps."""
    style_map: Annotated[Path | None, arg(metavar="MAP")] = None
    """What is where in the painting."""
    quick: bool = False
    """64 pixels and 30 steps, to see that it works."""
    size: Annotated[int, arg(metavar="PIXELS")] = 256
    """Longer side of the results."""
    steps: Annotated[int | None, arg(metavar="N")] = None
    """Steps of each lane; the experiment's own number if not given."""
    weights: Annotated[str | None, arg(metavar="NAME")] = None
    """Network to look through; the best that is here if not given."""
    judge: Annotated[str | None, arg(metavar="NAME")] = None
    """Network that measures how far results are from photo and painting; each lane's own if not given."""
    lanes: Annotated[int | None, arg(metavar="N")] = None
    """Lanes at once on each device."""

    def recipe(self, steps: int = 300, base: Recipe = recipes.GATYS_2015, **changes: Any) -> Recipe:
        """A recipe at the size and steps asked for; `terms__style__weight=…` sets terms.style.weight."""
        count = QUICK_STEPS if self.quick else steps
        sized = recipes.with_size(base, min(self.size, QUICK_SIZE) if self.quick else self.size)
        settings = {name.replace("__", "."): value for name, value in changes.items()}
        return replace(recipes.with_steps(sized, self.steps or count), settings)

    def lane(self, labels: Mapping[str, str], recipe: Recipe, files: Files | None = None,
             weights: str | None = None, keep_solver: bool = False) -> Lane:
        """One lane, of the photo and the first painting unless `files` says otherwise."""
        name = weights or self.weights or best_available()
        recipe = translated(recipe, load_weights(name))
        return Lane(labels=labels, recipe=recipe if keep_solver else for_sweeps(recipe),
                    files=files or self.files(), weights=name)

    def files(self, content: bool = True, styles: int = 1, maps: bool = False) -> Files:
        """The photo (or none) and the first so many paintings, with their maps if asked for.

        Raises:
          JaxstyleError: there are fewer.
        """
        if maps and not (self.content_map and self.style_map):
            raise JaxstyleError("this experiment takes maps: --content-map MAP --style-map MAP")
        if len(self.style) < styles:
            raise JaxstyleError(f"this experiment takes {styles} paintings: --style ONE.jpg TWO.jpg")
        return Files(content=str(self.content) if content else None,
                     styles=tuple(map(str, self.style[:styles])),
                     content_map=str(self.content_map) if maps else None,
                     style_maps=(str(self.style_map),) if maps else ())

    def at(self, *steps: int) -> tuple[int, ...]:
        """Steps for snapshots, fewer of them and earlier in a quick run."""
        scale = QUICK_STEPS / max(steps) if self.quick else 1
        return tuple(sorted({max(1, round(step * scale)) for step in steps}))

    def painting(self) -> np.ndarray:
        """The first painting `[H, W, 3]`."""
        return load(self.style[0])

    def derived(self, name: str, image: Any) -> Files:
        """Files with a painting made for this experiment, written into the folder of the run."""
        path = self.output / INPUTS / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, image)
        return Files(content=str(self.content), styles=(str(path),))


def main(about: str | None, lanes: Callable[[Setup], Sequence[Lane]],
         snapshots: Callable[[Setup], tuple[int, ...]] = lambda setup: (),
         arguments: Sequence[str] | None = None,
         judge: Callable[[Setup], str | None] = lambda setup: setup.judge) -> int:
    """Run an experiment from its command line; returns the exit code."""
    title, _, rest = (about or "").strip().partition("\n")
    try:
        setup = tyro.cli(Setup, description=about or "", args=arguments,
                         config=(tyro.conf.FlagCreatePairsOff,))
        use_compilation_cache()
        use_host_devices()
        options = Options(width=setup.lanes, snapshots=snapshots(setup), judge=judge(setup))
        sweep = run_sweep(setup.output, lanes(setup), title=title.rstrip("."), about=unwrapped(rest),
                          options=options)
        follow(sweep)
        print(f"done: {write_report(setup.output)}", file=sys.stderr)
    except JaxstyleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def follow(sweep: Iterable[Progress]) -> None:
    """Run a sweep, with a line now and then."""
    printed = time.monotonic()
    for at in sweep:
        if time.monotonic() - printed > LOG_SECONDS or at.done == at.total:
            printed = time.monotonic()
            print(f"{at.finished} lanes done, {100 * at.done / max(1, at.total):.0f} %", file=sys.stderr)


def unwrapped(text: str) -> str:
    """Text with one line for each heading ("Source:", "Question:", …), however it was wrapped."""
    return re.sub(r"\n(?!\w[\w ]*:)", " ", text.strip())


def run(about: str | None, lanes: Callable[[Setup], Sequence[Lane]], **more: Any) -> None:
    """`main`, for a script."""
    sys.exit(main(about, lanes, **more))
