"""`jaxstyle stylize`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np
from rich.console import Console
from tyro.conf import Positional, UseAppendAction, arg

from jaxstyle.cli.console.preview import run_page
from jaxstyle.cli.running.arguments import Settings
from jaxstyle.cli.running.job import Job, check_output, snapshot_path
from jaxstyle.cli.running.many import is_many, photos_in, render_many
from jaxstyle.cli.running.maps import MapOptions, chosen_maps
from jaxstyle.cli.running.regions import parse_regions
from jaxstyle.cli.running.render import render
from jaxstyle.errors import JaxstyleError
from jaxstyle.fast.apply import Look, restyled
from jaxstyle.fast.model import read_model
from jaxstyle.fast.shelf import find_model
from jaxstyle.images.decode import opened
from jaxstyle.images.files import load, save
from jaxstyle.images.folder import pictures_in
from jaxstyle.images.masks import FEATHER
from jaxstyle.losses import Content, Dream
from jaxstyle.metrics.strength import balanced
from jaxstyle.metrics.typical import typical_shares
from jaxstyle.ops.resize import resize
from jaxstyle.pytrees import replace
from jaxstyle.references import References
from jaxstyle.runs.manifest import Files, load_references
from jaxstyle.runs.maps import for_automatic_maps, uses_maps
from jaxstyle.transfer import presets
from jaxstyle.transfer.controls import as_one_style, by_class, by_region, check_controls
from jaxstyle.transfer.memory import does_not_fit, least_memory, memory_budget, parse_size
from jaxstyle.transfer.presets import with_strokes
from jaxstyle.transfer.presets.translation import translated
from jaxstyle.transfer.recipe import Recipe
from jaxstyle.transfer.settings import override
from jaxstyle.weights.store import best_available, load_weights


@dataclass(frozen=True)
class Stylize:
    """Paint a photo in the style of one or more paintings.

    Every field of the recipe can be set too, e.g. --style-weight 6 for more of the painting, --solver Adam,
    or --precision bfloat16 to compute faster and coarser; `jaxstyle recipes NAME` lists them all. Ctrl-C
    stops early and saves the best image so far.
    """

    content: Annotated[Path, Positional, arg(metavar="PHOTO")]
    """The photo: JPEG, PNG, WebP, TIFF, PPM; or a folder of photos, or a quoted pattern like 'in/*.jpg'."""
    styles: Annotated[tuple[Path, ...], Positional, arg(metavar="PAINTING ...")] = ()
    """The painting; several are blended (--terms.style.blend 2,1 sets the shares)."""
    together: Annotated[Path | None, arg(metavar="FOLDER")] = None
    """All paintings in a folder (of an author, a period, a movement) as one style: neighbours and patches are
    sought in all of them, Gram matrices and colours are their mean."""
    shares: Literal["equal", "measured"] = "equal"
    """With --together, what each counts in that mean: the same, or more the more typical it is of all."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="OUT")] = Path("out.png")
    """The picture to write: .png, .jpg, .webp or .tiff; for many photos the folder."""
    recipe: Annotated[str, arg(metavar="NAME")] = "default"
    """What to do; `jaxstyle recipes` lists the names."""
    size: Annotated[int | None, arg(metavar="PIXELS")] = None
    """Longer side of the result; the recipe's own if not given (512 for most)."""
    steps: Annotated[int | None, arg(metavar="N")] = None
    """Solver steps in all; the recipe's own if not given (160 for the default)."""
    weights: Annotated[str | None, arg(metavar="NAME")] = None
    """Network to look through: a name from `jaxstyle weights list`, or a .safetensors file. The
    best VGG-19 that is here, if not given."""
    seed: Annotated[int | None, arg(metavar="N")] = None
    """Seed of the noise; the recipe's own if not given."""
    start: Annotated[Path | None, arg(metavar="IMAGE")] = None
    """Image to start from instead of what the recipe says."""
    start_from: Annotated[str | None, arg(metavar="MODEL[=STYLE]")] = None
    """Start from what a fast network makes of the photo (`jaxstyle models`), written as OUT-start.png: then a
    third of the steps is enough."""
    content_map: Annotated[Path | None, arg(metavar="IMAGE")] = None
    """What is where in the result: a picture of flat colours, for recipes that match patches."""
    style_map: Annotated[tuple[Path, ...], arg(metavar="IMAGE ...")] = ()
    """What is where in each painting, in the same colours."""
    maps: Annotated[Literal["auto"] | None, arg(metavar="auto")] = None
    """auto: make the maps by clustering what photo and painting look like (written beside OUT)."""
    no_maps: bool = False
    """Leave maps aside that lie beside the pictures as PHOTO_sem.png and PAINTING_sem.png."""
    region: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="MASK=PAINTING")] = ()
    """Paint where a mask is white, from its own painting: --region sky.png=waves.jpg, once for each; what is
    left keeps the photo (--region rest=photo) or gets a painting too (--region rest=painting.jpg)."""
    style_mask: Annotated[tuple[Path, ...], arg(metavar="MASK ...")] = ()
    """Which part of each painting is meant, white, in the order of the paintings."""
    content_mask: Annotated[Path | None, arg(metavar="MASK")] = None
    """How much the photo's content counts where: white fully, black not at all."""
    strength_mask: Annotated[Path | None, arg(metavar="MASK")] = None
    """How much is painted where: white fully, black keeps the photo."""
    feather: Annotated[float, arg(metavar="SHARE")] = FEATHER
    """How soft the edges of masks are made, as a share of the longer side."""
    scale_strokes: Annotated[Literal["picture", "pixels"] | None, arg(metavar="picture|pixels")] = None
    """For a --size above the recipe's: keep the strokes as large relative to the picture, or in pixels."""
    preview: Annotated[int | None, arg(metavar="PORT")] = None
    """Show the picture as it grows at http://127.0.0.1:PORT, with a button that stops and saves."""
    every: Annotated[int | None, arg(metavar="N")] = None
    """Also write the picture every N steps, as OUT-00100.png and so on."""
    auto_weights: bool = False
    """Weigh style against content by what these pictures need, for the strength below."""
    strength: Annotated[float | None, arg(metavar="0…1")] = None
    """With --auto-weights, which it implies: 0 keeps the photo, 1 the style (0.5 if not given)."""
    keep_alpha: bool = False
    """Give the result the transparency of the photo."""
    max_memory: Annotated[str | None, arg(metavar="SIZE")] = None
    """Stay within e.g. 2GB or 800MB: fewer rows of the image at a time (--rows), at worst a shorter L-BFGS
    history. What is free, if not given."""
    devices: Annotated[int, arg(metavar="N")] = 1
    """Split the image by rows over the first N devices."""
    resume: bool = False
    """Go on with the same command where it was interrupted or killed, to the same picture bit for bit."""
    save_every: Annotated[float, arg(metavar="SECONDS")] = 30.0
    """How often the state of the run is saved beside OUT, to go on from."""
    force: bool = False
    """Overwrite OUT if it exists."""

    def run(self, settings: Settings, console: Console) -> int:
        """Make the picture, or one of each photo."""
        if self.start_from is not None and not is_many(self.content):
            return replace_fields(self, start=self.network_start(), start_from=None).run(settings, console)
        if self.every is not None and self.every < 1:
            raise JaxstyleError("--every takes a number of steps of at least 1")
        recipe = override(self.chosen_recipe(), settings)
        if is_many(self.content):
            return self.run_many(recipe, console)
        files = self.files(self.content)
        self.check_painting(recipe, files)
        steps = range(self.every, recipe.total_steps + 1, self.every) if self.every else ()
        check_output(self.output, self.force, [snapshot_path(self.output, step) for step in steps],
                     self.resume)
        job = self.job(recipe, files, self.output, console)
        with run_page(self.preview, self.output.name, job.references, console) as live:
            return render(dataclasses.replace(job, live=live, resume=self.resume), console)

    def run_many(self, recipe: Recipe, console: Console) -> int:
        """Make a picture of each photo."""
        photos = photos_in(self.content)
        self.check_painting(recipe, self.files(photos[0]))
        if any(given is not None for given in (self.preview, self.every, self.start, self.start_from)):
            raise JaxstyleError("--preview, --every, --start and --start-from are for one photo alone")

        def job(photo: Path, output: Path) -> Job:
            return self.job(recipe, self.files(photo), output, console)

        return render_many(photos, self.output, job, self.force, console)

    def files(self, photo: Path) -> Files:
        """The pictures that a photo is painted from.

        Raises:
          JaxstyleError: paintings given both ways, or regions that cannot be read.
        """
        if self.region and self.styles:
            raise JaxstyleError("give paintings either after the photo or with --region, not both")
        paintings, regions = parse_regions(self.region)
        if self.together is not None:
            if paintings or self.styles:
                raise JaxstyleError("with --together the paintings are those of its folder; give no others")
            paintings = tuple(map(str, pictures_in(self.together)))
        if not 0 <= self.feather <= 0.25:
            raise JaxstyleError(f"--feather is a share of the longer side from 0 to 0.25, not {self.feather}")
        return Files(
            content=str(photo), styles=paintings or tuple(map(str, self.styles)), regions=regions,
            start=text_of(self.start), content_map=text_of(self.content_map),
            style_maps=tuple(map(str, self.style_map)), style_regions=tuple(map(str, self.style_mask)),
            content_mask=text_of(self.content_mask), strength_mask=text_of(self.strength_mask),
            feather=self.feather)

    def check_painting(self, recipe: Recipe, files: Files) -> None:
        """Raise unless there is a painting, or the recipe takes none."""
        takes = any(not isinstance(term, Content | Dream) for term in recipe.terms.values() if term.layers)
        if takes and not files.styles:
            raise JaxstyleError("no painting was given: jaxstyle stylize photo.jpg painting.jpg -o out.png")

    def job(self, recipe: Recipe, files: Files, output: Path, console: Console) -> Job:
        """What is to be made of a photo."""
        limit = None if self.max_memory is None else parse_size(self.max_memory)
        refuse_early(files, recipe, limit)
        with console.status("reading pictures and weights …"):
            weights = load_weights(self.weights or best_available())
            recipe = translated(recipe, weights)
            options = MapOptions(self.maps, self.no_maps, self.force or self.resume)
            files = chosen_maps(files, recipe, weights, options, output, console)
            recipe = with_guides(for_automatic_maps(recipe) if self.maps else recipe, files)
            references = by_class(load_references(files), recipe)
            if self.together is not None:
                measured = self.shares == "measured"
                recipe = as_one_style(recipe, typical_shares(weights, references.styles) if measured else ())
            check_controls(references, recipe)
        if self.auto_weights or self.strength is not None:
            with console.status("measuring what these pictures need …"):
                strength = 0.5 if self.strength is None else self.strength
                recipe = balanced(weights, references, recipe, strength)
        return Job(weights=weights, references=references, recipe=recipe, files=files, output=output,
                   every=self.every, keep_alpha=self.keep_alpha, limit=limit, save_seconds=self.save_every,
                   devices=first_devices(self.devices), force=self.force)

    def network_start(self) -> Path:
        """The picture that a fast network makes of the photo, as a file beside the result."""
        if self.start is not None:
            raise JaxstyleError("give --start or --start-from, not both")
        name, _, style = str(self.start_from).partition("=")
        model = read_model(find_model(name))
        size = self.size or self.chosen_recipe().stages[-1].size
        photo = load(self.content)
        image = photo if size is None else np.asarray(resize(photo, min(size, max(photo.shape[:2]))))
        path = self.output.with_name(f"{self.output.stem}-start.png")
        look = Look(blend={style: 1.0} if style else {}, regions={})
        save(path, restyled(model, image, look))
        return path

    def chosen_recipe(self) -> Recipe:
        """The named recipe with the short flags applied."""
        recipe = presets.named(self.recipe)
        if self.scale_strokes is not None:
            if self.size is None:
                raise JaxstyleError("--scale-strokes says how --size is reached; give one")
            recipe = with_strokes(recipe, self.size, self.scale_strokes)
        elif self.size is not None:
            recipe = presets.with_size(recipe, self.size)
        if self.steps is not None:
            recipe = presets.with_steps(recipe, self.steps)
        if self.seed is not None:
            recipe = replace(recipe, {"seed": self.seed})
        if self.start is not None:
            recipe = replace(recipe, {"start.base": "image", "start.noise": 0.0})
        return recipe


def refuse_early(files: Files, recipe: Recipe, limit: int | None) -> None:
    """Raise at once where the result cannot fit into memory, before pictures of any size are decoded.

    Raises:
      JaxstyleError: it cannot, or the photo cannot be read.
    """
    if files.content is None:
        return
    with opened(files.content) as image:
        width, height = image.size
    shape: Any = jax.ShapeDtypeStruct((height, width, 3), "float32")
    photo = References(content=shape)
    budget = memory_budget(jax.devices()[:1], limit, photo if limit is None else None)
    if (least := least_memory(photo, recipe)) > budget:
        raise does_not_fit(least, budget)


def text_of(path: Path | None) -> str | None:
    """A path as text, if there is one."""
    return None if path is None else str(path)


def with_guides(recipe: Recipe, files: Files) -> Recipe:
    """The recipe as it is run with these files: with guided Gram matrices if there are regions or classes."""
    regions = files.regions or files.strength_mask or files.style_regions
    return by_region(recipe) if regions or (files.content_map and not uses_maps(recipe)) else recipe


def first_devices(count: int) -> tuple[jax.Device, ...]:
    """Devices to split an image over; none for one.

    Raises:
      JaxstyleError: there are not as many.
    """
    found = jax.local_devices()
    if not 1 <= count <= len(found):
        raise JaxstyleError(f"--devices {count}: there are 1 … {len(found)} here (a CPU counts as N with "
                            "XLA_FLAGS=--xla_force_host_platform_device_count=N)")
    return tuple(found[:count]) if count > 1 else ()
