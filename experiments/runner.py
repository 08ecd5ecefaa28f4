"""What all experiments share: options, lanes, and the run with its report.

An experiment is a docstring and a function `lanes(setup)`; `main` does the rest.
"""

from __future__ import annotations

import dataclasses
import re
import runpy
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from matplotlib import cbook
from PIL import Image, ImageDraw
from tyro.conf import arg

from jaxstyle import JaxstyleError, load, recipes, replace, save
from jaxstyle.backbones.vgg import STYLE_LAYERS
from jaxstyle.report.page import write_report
from jaxstyle.runs.manifest import Files
from jaxstyle.sweeps.batches import Options, Progress
from jaxstyle.sweeps.folder import INPUTS
from jaxstyle.sweeps.plan import Lane, for_sweeps
from jaxstyle.sweeps.runner import run_sweep
from jaxstyle.transfer.platform import use_compilation_cache, use_host_devices
from jaxstyle.transfer.presets.translation import translated
from jaxstyle.transfer.recipe import Recipe
from jaxstyle.weights.registry import registry
from jaxstyle.weights.store import available, best_available, load_weights

SIZE, QUICK_SIZE, QUICK_STEPS, QUICK_NOISE = 256, 96, 60, 0.3
LOG_SECONDS = 10.0
# The outline of the demo's sitter, in shares of width and height.
SITTER = ((0, 1), (0.04, 0.78), (0.1, 0.66), (0.25, 0.59), (0.38, 0.53), (0.33, 0.45), (0.3, 0.34),
          (0.27, 0.24), (0.28, 0.13), (0.42, 0.03), (0.6, 0.05), (0.72, 0.14), (0.73, 0.3), (0.7, 0.42),
          (0.64, 0.5), (0.68, 0.55), (0.88, 0.63), (0.98, 0.7), (1, 1))

EXTRACTORS = {  # network: layers of content and of style
    "VGG": ("relu4_2", STYLE_LAYERS),
    "AlexNet": ("relu4", ("relu1", "relu2", "relu3", "relu4", "relu5")),
    "SqueezeNet": ("fire6/concat", ("relu1", "fire3/concat", "fire5/concat", "fire7/concat", "fire9/concat")),
    "ResNet50": ("layer3_2/output", ("relu1", *(f"layer{i}_0/output" for i in range(1, 5)))),
    "GoogLeNet": ("inception_4b/output", ("conv1/relu_7x7", "conv2/relu_3x3", "inception_3b/output",
                                          "inception_4c/output", "inception_5a/output")),
}


@dataclass(frozen=True)
class Setup:
    """Options of every experiment."""

    content: Annotated[Path | None, arg(metavar="PHOTO")] = None
    """The photo; that of the demo if not given."""
    style: Annotated[tuple[Path, ...], arg(metavar="PAINTING ...")] = ()
    """The painting; experiments on several styles take two. Those of the demo if not given."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="DIR")] = Path("runs") / Path(sys.argv[0]).stem
    """Folder for the results and the report; runs/NAME if not given."""
    content_map: Annotated[Path | None, arg(metavar="MAP")] = None
    """What is where in the photo, as flat colours; for experiments on semantic maps."""
    style_map: Annotated[Path | None, arg(metavar="MAP")] = None
    """What is where in the painting."""
    quick: bool = False
    """60 steps at 96 pixels, from the photo under some noise, to see that it works; too short to judge."""
    size: Annotated[int | None, arg(metavar="PIXELS")] = None
    """Longer side of the results; if not given 256, or 96 in a quick run."""
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
        sized = recipes.with_size(base, self.pixels())
        if self.quick and base.start.noise == 1 and not changes.keys() & {"start", "start__noise"}:
            changes["start__noise"] = QUICK_NOISE  # from noise alone, so few steps show noise
        settings = {name.replace("__", "."): value for name, value in changes.items()}
        return replace(recipes.with_steps(sized, self.steps or count), settings)

    def pixels(self) -> int:
        """Longer side of the results."""
        return self.size or (QUICK_SIZE if self.quick else SIZE)

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
        setup = with_demo(setup)
        options = Options(width=setup.lanes, snapshots=snapshots(setup), judge=judge(setup))
        text = unwrapped(rest) + ("\nQuick run: too short to judge." if setup.quick else "")
        sweep = run_sweep(setup.output, lanes(setup), title=title.rstrip("."), about=text, options=options)
        follow(sweep)
        print(f"done: {write_report(setup.output)}", file=sys.stderr)
    except JaxstyleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def networks_here() -> list[str]:
    """The networks that are here; those that are not are named, with how to get them."""
    for name in sorted(registry().keys() - available().keys()):
        print(f"not here: {name} (jaxstyle weights fetch {name})", file=sys.stderr)
    return list(available())


def layers_of(name: str) -> tuple[str, tuple[str, ...]]:
    """The layers of a network at which experiments compare content and style."""
    return EXTRACTORS[type(load_weights(name).network).__name__]


def follow(sweep: Iterable[Progress]) -> None:
    """Run a sweep, with a line now and then."""
    printed = time.monotonic()
    for at in sweep:
        if time.monotonic() - printed > LOG_SECONDS or at.done == at.total:
            printed = time.monotonic()
            print(f"{at.finished} lanes done, {100 * at.done / max(1, at.total):.0f} %", file=sys.stderr)


def with_demo(setup: Setup) -> Setup:
    """The setup with the pictures of the demo, and maps of them, where none are given.

    Raises:
      JaxstyleError: a photo without a painting, or the other way round.
    """
    if setup.content and setup.style:
        return setup
    if setup.content or setup.style:
        raise JaxstyleError("give both --content PHOTO and --style PAINTING, or neither for those of the "
                            "demo")
    folder = setup.output / INPUTS
    photo, paintings = demo_pictures(folder)
    maps = setup.content_map or folder / "photo_map.png", setup.style_map or folder / "painting_map.png"
    if not setup.content_map:
        write_mask(maps[0], sitter(photo))
    if not setup.style_map:
        write_mask(maps[1], drawing("draw_painting")["lights"](512, 7))
    return dataclasses.replace(setup, content=photo, style=paintings, content_map=maps[0], style_map=maps[1])


def demo_pictures(folder: Path) -> tuple[Path, tuple[Path, Path]]:
    """The demo's photo, its painting and a stained glass, in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    photo, paintings = folder / "photo.jpg", (folder / "painting.png", folder / "mosaic.png")
    if not photo.exists():
        shutil.copy(str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)), photo)
    for path, script, seed in zip(paintings, ("draw_painting", "draw_mosaic"), (7, 3)):
        if not path.exists():
            drawing(script)["paint"](512, seed).save(path)
    return photo, paintings


def drawing(name: str) -> dict[str, Any]:
    """What a script that draws defines."""
    return runpy.run_path(str(Path(__file__).parent.parent / "scripts" / f"{name}.py"))


def sitter(photo: Path) -> np.ndarray:
    """Where the sitter of the demo's photo is, `[H, W]`, drawn by hand."""
    with Image.open(photo) as image:
        mask = Image.new("1", image.size)
    points = [(x * mask.width, y * mask.height) for x, y in SITTER]
    ImageDraw.Draw(mask).polygon(points, fill=1)
    return np.asarray(mask)


def write_mask(path: Path, mask: np.ndarray) -> None:
    """A map of two labels: yellow in the mask, blue around it."""
    save(path, np.where(mask[..., None], (1.0, 0.8, 0.0), (0.0, 0.2, 0.8)).astype(np.float32))


def unwrapped(text: str) -> str:
    """Text with one line for each heading ("Source:", "Question:", …), however it was wrapped."""
    return re.sub(r"\n(?!\w[\w ]*:)", " ", text.strip())


def run(about: str | None, lanes: Callable[[Setup], Sequence[Lane]], **more: Any) -> None:
    """`main`, for a script."""
    sys.exit(main(about, lanes, **more))
