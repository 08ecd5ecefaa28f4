"""`jaxstyle doodle`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console
from tyro.conf import Positional, arg

from jaxstyle.cli.arguments import Settings
from jaxstyle.cli.job import Job, check_output, snapshot_path
from jaxstyle.cli.render import render
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import load
from jaxstyle.images.maps import sem_path
from jaxstyle.losses import Content
from jaxstyle.pytrees import replace
from jaxstyle.runs.manifest import Files, load_references
from jaxstyle.transfer import presets
from jaxstyle.transfer.memory import parse_size
from jaxstyle.transfer.recipe import Recipe
from jaxstyle.transfer.settings import override
from jaxstyle.transfer.translation import translated
from jaxstyle.weights.store import best_available, load_weights


@dataclass(frozen=True)
class Doodle:
    """Turn a map of flat colours into a painting: every region takes after the same colour's in a painting.

    There is no photo; MAP gives the size. Without PAINTING_MAP, PAINTING_sem.png beside the painting is
    taken.
    """

    map: Annotated[Path, Positional, arg(metavar="MAP")]
    """What is to be where: a picture of flat colours, best as PNG."""
    painting: Annotated[Path, Positional, arg(metavar="PAINTING")]
    """The painting."""
    painting_map: Annotated[Path | None, Positional, arg(metavar="PAINTING_MAP")] = None
    """What is where in the painting, in the same colours."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="OUT")] = Path("out.png")
    """The picture to write: .png, .jpg, .webp or .tiff."""
    recipe: Annotated[str, arg(metavar="NAME")] = "doodle"
    """What to do: doodle, neural-doodle, or another recipe that matches patches."""
    size: Annotated[int | None, arg(metavar="PIXELS")] = None
    """Longer side of the result; the map's own if not given."""
    steps: Annotated[int | None, arg(metavar="N")] = None
    """Solver steps in all; the recipe's own if not given."""
    weights: Annotated[str | None, arg(metavar="NAME")] = None
    """Network to look through: a name from `jaxstyle weights list`, or a .safetensors file."""
    seed: Annotated[int | None, arg(metavar="N")] = None
    """Seed of the noise; the recipe's own if not given."""
    every: Annotated[int | None, arg(metavar="N")] = None
    """Also write the picture every N steps, as OUT-00100.png and so on."""
    max_memory: Annotated[str | None, arg(metavar="SIZE")] = None
    """Stay within e.g. 2GB or 800MB."""
    resume: bool = False
    """Go on with the same command where it was interrupted or killed, to the same picture bit for bit."""
    force: bool = False
    """Overwrite OUT if it exists."""

    def run(self, settings: Settings, console: Console) -> int:
        """Make the picture."""
        if self.every is not None and self.every < 1:
            raise JaxstyleError("--every takes a number of steps of at least 1")
        limit = None if self.max_memory is None else parse_size(self.max_memory)
        painting_map = self.painting_map or sem_path(self.painting)
        if painting_map is None:
            raise JaxstyleError(f"{self.painting}: has no map; give one, or put {self.painting.stem}_sem.png "
                                "beside it")
        height, width = load(self.map).shape[:2]
        recipe = override(self.chosen_recipe(max(height, width)), settings)
        steps = range(self.every, recipe.total_steps + 1, self.every) if self.every else ()
        check_output(self.output, self.force, [snapshot_path(self.output, step) for step in steps],
                     self.resume)
        files = Files(styles=(str(self.painting),), content_map=str(self.map),
                      style_maps=(str(painting_map),))
        console.print(f"maps: {self.map}, {painting_map}", highlight=False, soft_wrap=True)
        weights = load_weights(self.weights or best_available())
        job = Job(weights=weights, references=load_references(files), recipe=translated(recipe, weights),
                  files=files, output=self.output, every=self.every, limit=limit, resume=self.resume)
        return render(job, console)

    def chosen_recipe(self, longer: int) -> Recipe:
        """The named recipe without its content terms, at the size of the map, with the short flags
        applied."""
        recipe = presets.with_size(presets.named(self.recipe), self.size or longer)
        terms = {name: term for name, term in recipe.terms.items() if not isinstance(term, Content)}
        recipe = replace(recipe, {"terms": terms, "start.noise": 1.0})
        if self.steps is not None:
            recipe = presets.with_steps(recipe, self.steps)
        return recipe if self.seed is None else replace(recipe, {"seed": self.seed})
