"""`jaxstyle sweep`: parsing and printing only."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import jax
from rich.console import Console
from tyro.conf import Positional, UseAppendAction, arg

from jaxstyle.cli.console.interrupts import INTERRUPTED, last_words
from jaxstyle.cli.console.preview import Live
from jaxstyle.cli.console.progress import show_sweep
from jaxstyle.cli.running.live import sweep_on_page, sweep_page
from jaxstyle.cli.running.maps import MapOptions, sweep_maps
from jaxstyle.cli.running.regions import parse_regions
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.folder import pictures
from jaxstyle.images.masks import FEATHER
from jaxstyle.metrics.strength import Balance, measure_balance, with_strength
from jaxstyle.pytrees import replace
from jaxstyle.runs.manifest import Files, load_references
from jaxstyle.runs.maps import for_automatic_maps
from jaxstyle.sweeps.batches import Options, Progress
from jaxstyle.sweeps.inputs import crossed, with_maps
from jaxstyle.sweeps.memory import fitting_lanes
from jaxstyle.sweeps.plan import MAX_LANES, Axis, Lane, Point, Preparation, axis_from, plan, zipped
from jaxstyle.sweeps.runner import run_sweep
from jaxstyle.transfer import presets
from jaxstyle.transfer.controls import by_region
from jaxstyle.transfer.memory import changes, mebibytes, parse_size
from jaxstyle.transfer.platform import use_host_devices
from jaxstyle.transfer.presets.translation import translated
from jaxstyle.transfer.recipe import Recipe
from jaxstyle.transfer.settings import override
from jaxstyle.weights.store import best_available, load_weights


@dataclass(frozen=True)
class Sweep:
    """Make many pictures at once: every combination of the settings that --vary names.

    Example: jaxstyle sweep photo.jpg painting.jpg --vary terms.style.weight=1e2,1e3 --seeds 2 -o runs/try.
    A folder instead of a picture means every picture in it. All fields of the recipe can be set for all lanes
    too, e.g. --terms.content.weight 5. Run the same command again to go on after an interruption.
    """

    content: Annotated[Path, Positional, arg(metavar="PHOTO")]
    """The photo, or a folder of photos."""
    painting: Annotated[Path, Positional, arg(metavar="PAINTING")]
    """The painting, or a folder of paintings."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="DIR")]
    """Folder for the results and the report."""
    vary: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="PATH=V1,V2,…")] = ()
    """An axis: a setting and its values (lists separated by semicolons); also recipe=a,b or strength=…"""
    zip: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="PATH=V1,V2,…")] = ()
    """Like --vary, but all --zip together are one axis: their first values, their second values, …"""
    seeds: Annotated[int | None, arg(metavar="N")] = None
    """Run everything with seeds 0 … N−1."""
    contents: Annotated[tuple[Path, ...], arg(metavar="PHOTO ...")] = ()
    """More photos."""
    paintings: Annotated[tuple[Path, ...], arg(metavar="PAINTING ...")] = ()
    """More paintings."""
    content_map: Annotated[Path | None, arg(metavar="IMAGE")] = None
    """What is where in the photo, as flat colours, for recipes that match patches."""
    style_map: Annotated[tuple[Path, ...], arg(metavar="IMAGE ...")] = ()
    """What is where in each painting, in the same colours."""
    maps: Annotated[Literal["auto"] | None, arg(metavar="auto")] = None
    """auto: make maps for every photo with its paintings by clustering what they look like (kept in DIR)."""
    no_maps: bool = False
    """Leave maps aside that lie beside the pictures as PHOTO_sem.png and PAINTING_sem.png."""
    region: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="MASK=PAINTING")] = ()
    """Paint where a mask is white, from its own painting; what no mask covers is painted from PAINTING."""
    feather: Annotated[float, arg(metavar="SHARE")] = FEATHER
    """How soft the edges of masks are made, as a share of the longer side."""
    together: bool = False
    """Use all paintings in every lane (blended) instead of one after the other."""
    recipe: Annotated[str, arg(metavar="NAME")] = "default"
    """What to do; `jaxstyle recipes` lists the names."""
    size: Annotated[int | None, arg(metavar="PIXELS")] = None
    """Longer side of the results; the recipe's own if not given."""
    steps: Annotated[int | None, arg(metavar="N")] = None
    """Solver steps in all; the recipe's own if not given."""
    weights: Annotated[str | None, arg(metavar="NAME")] = None
    """Network to look through: a name from `jaxstyle weights list`, or a .safetensors file."""
    lanes: Annotated[int | None, arg(metavar="N")] = None
    """Lanes at once on each device; as many as fit and pay if not given."""
    host_devices: Annotated[int | None, arg(metavar="N")] = None
    """On a CPU: spread the lanes over N devices that share its cores; as many as pay if not given."""
    snapshots: Annotated[tuple[int, ...], arg(metavar="STEP ...")] = ()
    """Keep each lane's picture after these steps too."""
    strength: Annotated[float | None, arg(metavar="0…1")] = None
    """Weigh the style by what each pair of pictures needs: 0 keeps the photo, 1 the style."""
    judge: Annotated[str | None, arg(metavar="NAME")] = None
    """Network that measures how far results are from photo and painting; --weights if not given."""
    keep_solver: bool = False
    """Keep an L-BFGS with line search instead of the one made for sweeps (one evaluation per step)."""
    distributed: bool = False
    """Share the lanes with the other processes of this job (SLURM, Open MPI, Kubernetes, Cloud TPU): start
    the same command in each, with the same DIR on a shared disk."""
    coordinator: Annotated[str | None, arg(metavar="HOST:PORT")] = None
    """With --distributed where no such system is detected: address of the first process."""
    processes: Annotated[int | None, arg(metavar="N")] = None
    """With --coordinator: how many processes there are."""
    process: Annotated[int | None, arg(metavar="I")] = None
    """With --coordinator: which one this is, from 0."""
    max_memory: Annotated[str | None, arg(metavar="SIZE")] = None
    """Stay within e.g. 2GB or 800MB: fewer lanes at once, then fewer rows of the image at a time (--rows), at
    worst a shorter L-BFGS history."""
    save_every: Annotated[float, arg(metavar="SECONDS")] = 30.0
    """How often running lanes are saved, to go on from after an interruption."""
    preview: Annotated[int | None, arg(metavar="PORT")] = None
    """Show the pictures as they grow at http://127.0.0.1:PORT, with a button that stops."""

    def run(self, settings: Mapping[str, str], console: Console) -> int:
        """Run the sweep, or what is left of it, and write the report."""
        use_host_devices(self.host_devices)
        if self.distributed:
            if self.preview is not None:
                raise JaxstyleError("--preview shows one process; leave it out with --distributed")
            join(self.coordinator, self.processes, self.process)
        memory = None if self.max_memory is None else parse_size(self.max_memory)
        options = Options(width=self.lanes, memory=memory, snapshots=self.snapshots,
                          save_seconds=self.save_every, process=jax.process_index(),
                          processes=jax.process_count(), judge=self.judge)
        with console.status("reading pictures, measuring …"):
            lanes = fitted(self.planned(settings), options, console)
        if found := sorted({lane.files.content_map for lane in lanes if lane.files.content_map}):
            console.print(f"maps: {', '.join(found)} (and those of the paintings)", highlight=False,
                          soft_wrap=True)
        with sweep_page(self.preview, self.title(), lanes, console) as live:
            return perform(self.output, lanes, options, console, title=self.title(), live=live)

    def title(self) -> str:
        """What the report is called."""
        photos = pictures((self.content, *self.contents))
        paintings = pictures((self.painting, *self.paintings))
        photo = photos[0].stem if len(photos) == 1 else f"{len(photos)} photos"
        painting = paintings[0].stem if len(paintings) == 1 else f"{len(paintings)} paintings"
        return f"{photo} in the style of {painting}{' together' if self.together else ''}"

    def planned(self, settings: Mapping[str, str]) -> list[Lane]:
        """The lanes that the options describe.

        Raises:
          JaxstyleError: an option that makes no sense.
        """
        if self.lanes is not None and self.lanes < 1:
            raise JaxstyleError("--lanes takes a number of at least 1")
        if self.seeds is not None and not 1 <= self.seeds <= MAX_LANES:
            raise JaxstyleError(f"--seeds takes a number of 1 to {MAX_LANES:,}")
        base = override(self.sized(presets.named(self.recipe)), dict(settings))
        base = by_region(base) if self.region else base
        axes = [axis_from(text, base) for text in self.vary]
        if self.zip:
            axes.append(zipped([axis_from(text, base) for text in self.zip]))
        if self.seeds is not None:
            axes.append(Axis("seed", tuple(Point(str(i), {"seed": str(i)}) for i in range(self.seeds))))
        paintings = pictures((self.painting, *self.paintings))
        files = crossed(pictures((self.content, *self.contents)), paintings, self.together)
        weights = self.weights or best_available()
        if self.content_map or self.style_map:
            files = with_maps(files, self.content_map, dict(zip(map(str, paintings), self.style_map)))
        files = sweep_maps(files, base, weights, MapOptions(self.maps, self.no_maps, True), self.output)
        if self.region:
            files = self.with_regions(files)
        lanes = plan(base, axes, files, weights, Preparation(
            settings=settings, sized=self.sized, strengthen=strengthener(weights), strength=self.strength,
            translate=lambda recipe: translated(recipe, load_weights(weights)), keep_solver=self.keep_solver))
        if self.maps:
            lanes = [dataclasses.replace(lane, recipe=for_automatic_maps(lane.recipe)) for lane in lanes]
        if self.region:
            lanes = [dataclasses.replace(lane, recipe=by_region(lane.recipe)) for lane in lanes]
        return lanes

    def with_regions(self, files: Mapping[str, Mapping[str, Files]]) -> dict[str, dict[str, Files]]:
        """The files with the regions' paintings before the painting of the rest.

        Raises:
          JaxstyleError: regions that cannot be read, or a rest that is given twice.
        """
        styles, masks = parse_regions(self.region)
        if None in masks or self.together:
            raise JaxstyleError("with --region the rest is painted from PAINTING; leave out --together and "
                                "--region rest=…")
        return {photo: {name: replace(given, {"styles": (*styles, *given.styles), "regions": (*masks, None),
                                              "feather": self.feather}) for name, given in some.items()}
                for photo, some in files.items()}

    def sized(self, recipe: Recipe) -> Recipe:
        """The recipe with the short flags applied."""
        if self.size is not None:
            recipe = presets.with_size(recipe, self.size)
        return recipe if self.steps is None else presets.with_steps(recipe, self.steps)


@dataclass(frozen=True)
class Report:
    """Make the report of a sweep again from its folder, finished or not."""

    directory: Annotated[Path, Positional, arg(metavar="DIR")]
    """A folder that `jaxstyle sweep` wrote."""

    def run(self, settings: Mapping[str, str], console: Console) -> int:
        """Write the report."""
        from jaxstyle.report.page import write_report  # matplotlib takes half a second to import

        console.print(f"report → {write_report(self.directory)}", highlight=False, soft_wrap=True)
        return 0


def perform(directory: Path, lanes: Sequence[Lane], options: Options, console: Console, *, title: str,
            live: Live | None = None) -> int:
    """Runs lanes into a folder, shows progress, and writes the report; returns the exit code."""
    console.print(f"{len(lanes)} lanes → {directory}", highlight=False, soft_wrap=True)
    progress = run_sweep(directory, lanes, title=title, options=options)
    if code := watched(sweep_on_page(progress, live), len(lanes), console):
        return code
    if options.process == 0:
        from jaxstyle.report.page import write_report

        console.print(f"done → {write_report(directory)}", highlight=False, soft_wrap=True)
    return 0


def watched(progress: Iterable[Progress], lanes: int, console: Console) -> int:
    """Runs a sweep while showing its progress; returns 0, or 130 if it was interrupted."""
    def say() -> None:
        console.print("interrupted; the same command goes on from here")

    try:
        with last_words(say):
            show_sweep(progress, lanes, console)
    except KeyboardInterrupt:
        say()
        return INTERRUPTED
    return 0


def fitted(lanes: Sequence[Lane], options: Options, console: Console) -> list[Lane]:
    """Lanes that fit into the memory given; says what was changed for that.

    Raises:
      JaxstyleError: they do not.
    """
    chosen = fitting_lanes(lanes, options)
    for said in sorted({changes(old.recipe, new.recipe) for old, new in zip(lanes, chosen)} - {""}):
        console.print(f"to fit into --max-memory {mebibytes(options.memory or 0)}: {said}", highlight=False,
                      soft_wrap=True)
    return chosen


def strengthener(weights: str) -> Callable[[Recipe, Files, float], Recipe]:
    """What sets a strength: measures each recipe and pair of pictures, once."""
    paths: dict[str, Balance] = {}
    references = cache(load_references)

    def strengthen(recipe: Recipe, files: Files, strength: float) -> Recipe:
        key = repr((replace(recipe, {"seed": 0}), files))
        if key not in paths:
            paths[key] = measure_balance(load_weights(weights), references(files), recipe)
        return with_strength(recipe, paths[key], strength)

    return strengthen


def join(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Meet the other processes of the job.

    Raises:
      JaxstyleError: this is no job of a known kind, or the others cannot be reached.
    """
    try:
        jax.distributed.initialize(coordinator, processes, process)
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise JaxstyleError(f"--distributed: {reason}; outside SLURM, Open MPI, Kubernetes, Cloud TPU give "
                            "--coordinator HOST:PORT --processes N --process I") from None
