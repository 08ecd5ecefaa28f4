"""`jaxstyle sweep`: parsing and printing only."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
from rich.console import Console
from tyro.conf import Positional, UseAppendAction, arg

from jaxstyle import recipes
from jaxstyle.balance import Balance, measure_balance, with_strength
from jaxstyle.errors import JaxstyleError
from jaxstyle.host_devices import devices_that_pay, use_host_devices
from jaxstyle.overrides import override
from jaxstyle.pytrees import replace
from jaxstyle.recipe import Recipe
from jaxstyle.runs import Files
from jaxstyle.sweep_plan import Axis, Lane, Point, axis_from, plan, zipped
from jaxstyle.sweep_progress import show
from jaxstyle.sweep_runs import Options, references_of, run_sweep
from jaxstyle.weights import available, load_weights

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")


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
    save_every: Annotated[float, arg(metavar="SECONDS")] = 30.0
    """How often running lanes are saved, to go on from after an interruption."""

    def run(self, settings: Mapping[str, str], console: Console) -> int:
        """Run the sweep, or what is left of it, and write the report."""
        self.spread(settings)
        if self.distributed:
            join(self.coordinator, self.processes, self.process)
        lanes = self.planned(settings, strengthener(self.weights or best_available()))
        options = Options(width=self.lanes, snapshots=self.snapshots, save_seconds=self.save_every,
                          process=jax.process_index(), processes=jax.process_count())
        return perform(self.output, lanes, options, console, title=self.title())

    def spread(self, settings: Mapping[str, str]) -> None:
        """Make devices of the CPU's cores where that was asked for or pays; nothing was computed yet.

        Raises:
          JaxstyleError: what was asked for cannot be had.
        """
        if self.host_devices is not None:
            use_host_devices(self.host_devices)
            return
        count = devices_that_pay([lane.recipe for lane in self.planned(settings)])
        if count > 1:
            # In a process that has computed already the sweep is slower, but not wrong.
            with contextlib.suppress(JaxstyleError):
                use_host_devices(count)

    def title(self) -> str:
        """What the report is called."""
        return f"{self.content.stem} in the style of {self.painting.stem}"

    def planned(self, settings: Mapping[str, str],
                strengthen: Callable[[Recipe, Files, float], Recipe] | None = None) -> list[Lane]:
        """The lanes that the options describe; without `strengthen`, their weights are not measured yet.

        Raises:
          JaxstyleError: an option that makes no sense.
        """
        if self.lanes is not None and self.lanes < 1:
            raise JaxstyleError("--lanes takes a number of at least 1")
        if self.seeds is not None and self.seeds < 1:
            raise JaxstyleError("--seeds takes a number of at least 1")
        base = override(self.sized(recipes.named(self.recipe)), dict(settings))
        axes = [axis_from(text, base) for text in self.vary]
        if self.zip:
            axes.append(zipped([axis_from(text, base) for text in self.zip]))
        if self.seeds is not None:
            axes.append(Axis("seed", tuple(Point(str(i), {"seed": str(i)}) for i in range(self.seeds))))
        files = crossed(pictures((self.content, *self.contents)),
                        pictures((self.painting, *self.paintings)), self.together)
        weights = self.weights or best_available()
        return plan(base, axes, files, weights, settings=settings, sized=self.sized,
                    keep_solver=self.keep_solver, strengthen=strengthen, strength=self.strength)

    def sized(self, recipe: Recipe) -> Recipe:
        """The recipe with the short flags applied."""
        if self.size is not None:
            recipe = recipes.with_size(recipe, self.size)
        return recipe if self.steps is None else recipes.with_steps(recipe, self.steps)


@dataclass(frozen=True)
class Report:
    """Make the report of a sweep again from its folder, finished or not."""

    directory: Annotated[Path, Positional, arg(metavar="DIR")]
    """A folder that `jaxstyle sweep` wrote."""

    def run(self, settings: Mapping[str, str], console: Console) -> int:
        """Write the report."""
        from jaxstyle.report import write_report  # matplotlib takes half a second to import

        console.print(f"report → {write_report(self.directory)}", highlight=False, soft_wrap=True)
        return 0


@dataclass(frozen=True)
class Tune:
    """Search weights: many strengths and layer weights at once, the worse half stopped again and again.

    Prints the best compromises between photo and painting (the Pareto front), and its knee.
    """

    content: Annotated[Path, Positional, arg(metavar="PHOTO")]
    """The photo."""
    paintings: Annotated[tuple[Path, ...], Positional, arg(metavar="PAINTING ...")]
    """The painting; several are blended."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="DIR")]
    """Folder for the results and the report."""
    candidates: Annotated[int, arg(metavar="N")] = 16
    """How many to begin with."""
    recipe: Annotated[str, arg(metavar="NAME")] = "gatys-2015"
    """The recipe, of one stage; `jaxstyle recipes` lists the names."""
    size: Annotated[int, arg(metavar="PIXELS")] = 192
    """Longer side of the results."""
    steps: Annotated[int, arg(metavar="N")] = 200
    """Solver steps of those that are not stopped."""
    seed: Annotated[int, arg(metavar="N")] = 0
    """Seed of the candidates."""
    weights: Annotated[str | None, arg(metavar="NAME")] = None
    """Network to look through: a name from `jaxstyle weights list`, or a .safetensors file."""

    def run(self, settings: Mapping[str, str], console: Console) -> int:
        """Search, and write the report."""
        from jaxstyle.report import write_report
        from jaxstyle.report_data import read_sweep
        from jaxstyle.tune import settings_line, tune

        if not self.paintings:
            raise JaxstyleError("no painting was given; try: jaxstyle tune photo.jpg art.jpg -o runs/tune")
        base = recipes.with_steps(recipes.with_size(recipes.named(self.recipe), self.size), self.steps)
        files = Files(content=str(self.content), styles=tuple(map(str, self.paintings)))
        lane = Lane({}, override(base, dict(settings)), files, self.weights or best_available())
        console.print(f"{self.candidates} candidates → {self.output}", highlight=False, soft_wrap=True)
        for rung in tune(self.output, lane, count=self.candidates, seed=self.seed,
                         title=f"{self.content.stem}: tuned weights"):
            console.print(f"step {rung.step}: {len(rung.ran)} candidates ran, {len(rung.kept)} go on",
                          highlight=False)
        page = write_report(self.output)
        sweep = read_sweep(self.output)
        front, knee = sweep.front()
        for i in front:
            found = sweep.lanes[i]
            console.print(f"{'knee' if i == knee else '    '} photo {found.distance('content'):.3f} painting "
                          f"{found.distance('style'):.4f}  {settings_line(found.manifest)}",
                          highlight=False, soft_wrap=True)
        console.print(f"done → {page}", highlight=False, soft_wrap=True)
        return 0


def perform(directory: Path, lanes: Sequence[Lane], options: Options, console: Console, *, title: str,
            about: str = "") -> int:
    """Runs lanes into a folder, shows progress, and writes the report; returns the exit code."""
    console.print(f"{len(lanes)} lanes → {directory}", highlight=False, soft_wrap=True)
    try:
        show(run_sweep(directory, lanes, title=title, about=about, options=options), len(lanes), console)
    except KeyboardInterrupt:
        console.print("interrupted; the same command goes on from here", highlight=False)
        return 130
    if options.process == 0:
        from jaxstyle.report import write_report

        console.print(f"done → {write_report(directory)}", highlight=False, soft_wrap=True)
    return 0


def strengthener(weights: str) -> Callable[[Recipe, Files, float], Recipe]:
    """What sets a strength: measures each recipe and pair of pictures, once."""
    paths: dict[str, Balance] = {}

    def strengthen(recipe: Recipe, files: Files, strength: float) -> Recipe:
        key = repr((replace(recipe, {"seed": 0}), files))
        if key not in paths:
            paths[key] = measure_balance(load_weights(weights), references_of(files), recipe)
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


def pictures(places: Sequence[Path]) -> list[Path]:
    """Picture files, with folders replaced by the pictures in them.

    Raises:
      JaxstyleError: a folder without pictures.
    """
    found: list[Path] = []
    for path in places:
        inside = [path]
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES)
        if not inside:
            raise JaxstyleError(f"{path}: there are no pictures in this folder")
        found += inside
    return found


def crossed(photos: Sequence[Path], paintings: Sequence[Path], together: bool
            ) -> dict[str, dict[str, Files]]:
    """Files of every photo with every painting, by label; a label is empty where there is only one."""
    def label(path: Path, among: Sequence[Path]) -> str:
        if len(among) == 1:
            return ""
        return path.stem if sum(p.stem == path.stem for p in among) == 1 else str(path)

    if together:
        styles = {"": tuple(map(str, paintings))}
    else:
        styles = {label(path, paintings): (str(path),) for path in paintings}
    return {label(photo, photos): {name: Files(content=str(photo), styles=chosen)
                                   for name, chosen in styles.items()} for photo in photos}


def best_available() -> str:
    """The full network if it was fetched, else the bundled one, else random numbers."""
    names = available()
    return next(name for name in ("vgg19", "vgg19-slim", "random") if name in names)
