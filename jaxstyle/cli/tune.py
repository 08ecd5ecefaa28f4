"""`jaxstyle tune`: parsing and printing only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console
from tyro.conf import Positional, arg

from jaxstyle.cli.running.live import sweep_on_page, sweep_page
from jaxstyle.cli.sweep import fitted, watched
from jaxstyle.errors import JaxstyleError
from jaxstyle.report.data import read_sweep
from jaxstyle.runs.manifest import Files
from jaxstyle.sweeps.batches import Options
from jaxstyle.sweeps.plan import MAX_LANES, Lane, for_sweeps
from jaxstyle.sweeps.search.candidates import Tuning, chosen_settings
from jaxstyle.sweeps.search.halving import read_rungs, tune
from jaxstyle.transfer import presets
from jaxstyle.transfer.memory import parse_size
from jaxstyle.transfer.platform import use_host_devices
from jaxstyle.transfer.settings import override
from jaxstyle.weights.store import best_available


@dataclass(frozen=True)
class Tune:
    """Search weights: many strengths and layer weights at once, the worse half stopped again and again.

    Prints the best compromises between photo and painting (the Pareto front), and its knee. Run the same
    command again to go on after an interruption.
    """

    content: Annotated[Path, Positional, arg(metavar="PHOTO")]
    """The photo."""
    paintings: Annotated[tuple[Path, ...], Positional, arg(metavar="PAINTING ...")]
    """The painting; several are blended."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="DIR")]
    """Folder for the results and the report."""
    content_map: Annotated[Path | None, arg(metavar="IMAGE")] = None
    """What is where in the photo, as flat colours: then γ of terms that match by maps is searched, too."""
    style_map: Annotated[tuple[Path, ...], arg(metavar="IMAGE ...")] = ()
    """What is where in each painting, in the same colours."""
    candidates: Annotated[int, arg(metavar="N")] = 16
    """How many to begin with."""
    recipe: Annotated[str, arg(metavar="NAME")] = "default"
    """The recipe; `jaxstyle recipes` lists the names."""
    size: Annotated[int, arg(metavar="PIXELS")] = 192
    """Longer side of the results."""
    steps: Annotated[int, arg(metavar="N")] = 200
    """Solver steps, over all stages, of those that are not stopped."""
    seed: Annotated[int, arg(metavar="N")] = 0
    """Seed of the candidates."""
    weights: Annotated[str | None, arg(metavar="NAME")] = None
    """Network to look through: a name from `jaxstyle weights list`, or a .safetensors file."""
    max_memory: Annotated[str | None, arg(metavar="SIZE")] = None
    """Stay within e.g. 2GB or 800MB: as for `jaxstyle sweep`."""
    save_every: Annotated[float, arg(metavar="SECONDS")] = 30.0
    """How often running candidates are saved, to go on from after an interruption."""
    preview: Annotated[int | None, arg(metavar="PORT")] = None
    """Show the pictures as they grow at http://127.0.0.1:PORT, with a button that stops."""

    def run(self, settings: Mapping[str, str], console: Console) -> int:
        """Search, and write the report."""
        from jaxstyle.report.page import write_report  # matplotlib takes half a second to import

        if not self.paintings:
            raise JaxstyleError("no painting was given; try: jaxstyle tune photo.jpg art.jpg -o runs/tune")
        if not 2 <= self.candidates <= MAX_LANES:
            raise JaxstyleError(f"--candidates takes a number of 2 to {MAX_LANES:,}")
        if self.seed < 0:
            raise JaxstyleError("--seed takes a number of at least 0")
        use_host_devices()
        base = presets.with_steps(presets.with_size(presets.named(self.recipe), self.size), self.steps)
        files = Files(content=str(self.content), styles=tuple(map(str, self.paintings)),
                      content_map=None if self.content_map is None else str(self.content_map),
                      style_maps=tuple(map(str, self.style_map)))
        options = Options(memory=None if self.max_memory is None else parse_size(self.max_memory),
                          save_seconds=self.save_every)
        lane = Lane({}, for_sweeps(override(base, dict(settings))), files, self.weights or best_available())
        lane = fitted([lane] * self.candidates, options, console)[0] if self.candidates > 1 else lane
        console.print(f"{self.candidates} candidates → {self.output}", highlight=False, soft_wrap=True)
        tuning = Tuning(lane, self.candidates, self.seed, title=f"{self.content.stem}: tuned weights")
        search = tune(self.output, tuning, options)
        with sweep_page(self.preview, tuning.title, [lane], console) as live:
            if code := watched(sweep_on_page(search, live), self.candidates, console):
                return code
        page = write_report(self.output)
        self.print_found(settings, console)
        console.print(f"done → {page}", highlight=False, soft_wrap=True)
        return 0

    def print_found(self, settings: Mapping[str, str], console: Console) -> None:
        """Print what was decided, and the settings of the best, with those that were given."""
        for rung in read_rungs(self.output):
            console.print(f"step {rung.step}: {len(rung.ran)} candidates ran, {len(rung.kept)} were kept",
                          highlight=False)
        sweep = read_sweep(self.output)
        front, knee = sweep.front()
        if not front:
            console.print("no candidate came to a finite loss; use smaller weights")
        named = "" if self.recipe == "default" else f"--recipe {self.recipe} "
        for i in front:
            found = sweep.lanes[i]
            options = {**settings, **chosen_settings(found.manifest)}
            chosen = " ".join(f"--{path} {value}" for path, value in options.items())
            console.print(f"{'knee' if i == knee else '    '} photo {found.distance('content'):.3f} painting "
                          f"{found.distance('style'):.4f}  {named}{chosen}",
                          highlight=False, soft_wrap=True)
