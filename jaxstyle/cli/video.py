"""`jaxstyle video`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from rich.console import Console
from tyro.conf import Positional, arg

from jaxstyle.cli.console.interrupts import INTERRUPTED
from jaxstyle.cli.console.video_progress import headline, shown, shown_passes
from jaxstyle.cli.running.arguments import Settings
from jaxstyle.errors import JaxstyleError
from jaxstyle.pytrees import replace
from jaxstyle.transfer.settings import override
from jaxstyle.video import folder as files
from jaxstyle.video.files.encode import CODECS
from jaxstyle.video.files.pictures import beside, strip_indices, thumbnail, write_flicker, write_strip
from jaxstyle.video.make import Job, make, read_recorded, seconds
from jaxstyle.video.recipe import VideoRecipe, named
from jaxstyle.video.request import Request, check_request, job_from, located, request_from
from jaxstyle.weights.store import best_available


@dataclass(frozen=True)
class Video:
    """Paint a video in the style of a painting, frame after frame, without flicker.

    Each frame starts from the last result, moved along the optical flow, and stays close to it where the flow
    can be trusted. Sound is copied. After an interruption the same command goes on from the last finished
    frame. With --model a fast network paints instead. Every field of the recipe can be set too, e.g.
    --terms.style.weight 100, or --terms.temporal.weight 1000 for less flicker.
    """

    source: Annotated[Path, Positional, arg(metavar="IN")]
    """A video file, or a folder of numbered pictures."""
    styles: Annotated[tuple[Path, ...], Positional, arg(metavar="PAINTING ...")] = ()
    """The painting; several are blended (--terms.style.blend 2,1 sets the shares)."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="OUT")] = Path("out.mp4")
    """The video to write: .mp4, .mov, .mkv or .webm; a name without a suffix is a folder of frames."""
    model: Annotated[str | None, arg(metavar="MODEL")] = None
    """A fast network (`jaxstyle train`) instead of a painting."""
    blend: Annotated[str, arg(metavar="STYLE=SHARE,…")] = ""
    """With --model: the style, or a blend of styles, e.g. starry=2,wave=1; the first if not given."""
    stabilise: Annotated[float, arg(metavar="0…1")] = 0.8
    """With --model: share of the moved earlier result where it can be trusted."""
    recipe: Annotated[str, arg(metavar="NAME")] = "quick"
    """quick, long-term, multi-pass, frame-by-frame, or artistic-videos (with the full VGG-19)."""
    size: Annotated[int | None, arg(metavar="PIXELS")] = None
    """Longer side of the result; 512 at most if not given, with --model as large as IN."""
    steps: Annotated[int | None, arg(metavar="N")] = None
    """Solver steps of each frame after the first; the recipe's own if not given."""
    weights: Annotated[str | None, arg(metavar="NAME")] = None
    """Network to look through: a name from `jaxstyle weights list`, or a .safetensors file."""
    seed: Annotated[int | None, arg(metavar="N")] = None
    """Seed of the noise; the recipe's own if not given."""
    start: Annotated[str, arg(metavar="TIME")] = "0"
    """First moment, as 12, 0:12 or 1:02:03.5."""
    end: Annotated[str | None, arg(metavar="TIME")] = None
    """Last moment."""
    every: Annotated[int, arg(metavar="N")] = 1
    """Use every N-th frame only, shown N times as long."""
    fps: Annotated[float, arg(metavar="N")] = 24.0
    """Frames per second where IN is a folder."""
    flow: Annotated[Path | None, arg(metavar="DIR")] = None
    """Folder with backward_J_I.flo and forward_I_J.flo of frames I < J; estimated if not given."""
    crf: Annotated[int | None, arg(metavar="N")] = None
    """Quality of the file: lower is better and larger (18 if not given, 30 for .webm)."""
    no_sound: bool = False
    """Leave the sound out."""
    measure: bool = False
    """Measure the flicker, in all and per second, with a plot beside OUT."""
    force: bool = False
    """Overwrite OUT if it exists, and what another video left unfinished in its place."""

    def run(self, settings: Settings, console: Console) -> int:
        """Make the video."""
        if self.model and settings:
            raise JaxstyleError(f"--{next(iter(settings))} belongs to a recipe; a model has none")
        request = Request(
            source=self.source, output=self.output, styles=tuple(map(str, self.styles)),
            model=None if self.model is None else model_path(self.model),
            recipe=self.chosen_recipe(settings) if self.styles else None,
            weights=None if self.model else self.weights or best_available(), start=str(time(self.start)),
            end=None if self.end is None else str(time(self.end)), every=self.every, rate=str(rate(self.fps)),
            size=self.size, blend=self.blend, stabilise=self.stabilise, crf=self.crf,
            flow=None if self.flow is None else str(self.flow), sound=not self.no_sound)
        return produce(request, console, measure=self.measure, force=self.force)

    def chosen_recipe(self, settings: Settings) -> VideoRecipe:
        """The named recipe with the short flags and settings applied, to first and following frames alike."""
        recipe = named(self.recipe)
        first = {path: text for path, text in settings.items() if not path.startswith("terms.temporal")}
        after = {path: text for path, text in settings.items() if not path.startswith("stages")}
        changes: dict[str, Any] = {"first": override(recipe.first, first),
                                   "following": override(recipe.following, after)}
        if self.seed is not None:
            changes = {name: replace(one, {"seed": self.seed}) for name, one in changes.items()}
        if self.steps is not None:
            changes["following"] = replace(changes["following"], {"stages.0.steps": self.steps})
        return replace(recipe, changes)


def time(text: str) -> Fraction:
    """Seconds of a time such as "12", "0:12" or "1:02:03.5".

    Raises:
      JaxstyleError: it is none.
    """
    try:
        found = seconds(text)
    except (ValueError, ZeroDivisionError):
        raise JaxstyleError(f"'{text}' is no time; write it as 12, 0:12 or 1:02:03.5") from None
    if found < 0:
        raise JaxstyleError(f"'{text}' is no time: it is below 0")
    return found


def rate(number: float) -> Fraction:
    """Frames per second as a fraction; 23.976 and the like become 24000/1001.

    Raises:
      JaxstyleError: not a number of at least 0.01 and at most 1000.
    """
    if not 0.01 <= number <= 1000:
        raise JaxstyleError(f"--fps takes a number from 0.01 to 1000, not {number:g}")
    ntsc = round(number) * Fraction(1000, 1001)
    return ntsc if abs(float(ntsc) - number) < 0.004 and number != round(number) else Fraction(str(number))


def produce(request: Request, console: Console, *, measure: bool = False, force: bool = False) -> int:
    """Makes a video, and shows how it goes; returns the exit code (130 if interrupted)."""
    check_request(request)
    if files.is_video(request.output) and request.output.exists() and not force:
        raise JaxstyleError(f"{request.output}: exists already; add --force to overwrite it")
    apply = None if request.model is None else load_model(request)
    job = job_from(request, apply, measure)
    work = files.work_folder(request.output)
    there = files.begin(work, job.manifest, force)
    console.print(headline(job, request, there), highlight=False, soft_wrap=True)
    try:
        done = None
        if request.recipe is not None and request.recipe.passes > 1:
            done = sweep_passes(request, job, console)
        finish(job, done, console)
    except KeyboardInterrupt:
        console.print(f"interrupted with {files.count_done(work)} of {len(job.source.times)} frames in "
                      f"{work}; the same command goes on from there", highlight=False, soft_wrap=True)
        return INTERRUPTED
    return 0


def sweep_passes(request: Request, job: Job, console: Console) -> Any:
    """Runs the passes of a multi-pass recipe; returns where the finished frames are."""
    from jaxstyle.video.multipass import MultiPass, last_pass, passes

    assert request.recipe is not None
    recipe, shape, work = request.recipe, (job.height, job.width), files.work_folder(request.output)
    weights, styles, sized = job.paint.args  # type: ignore[attr-defined]
    steps = passes(MultiPass(weights, styles, sized, job.source, job.flow_of, work, shape))
    for _ in shown_passes(steps, recipe.passes, len(job.source.times), console):
        pass
    return last_pass(work, recipe, shape)


def finish(job: Job, done: Any, console: Console) -> None:
    """Makes the frames and the file, then the pictures beside it; prints what came of it."""
    wanted, count = [], len(job.source.times)
    samples, times, values, cuts = set(strip_indices(count)), [], [], 0
    with closing(make(job, done)) as running:
        for index, painted in enumerate(shown(running, count, console)):
            if index in samples:
                wanted.append((thumbnail(painted.frame.image), thumbnail(painted.image)))
            if painted.flicker is not None:
                times.append(float(painted.frame.time))
                values.append(painted.flicker)
            cuts += painted.cut
    write_strip(beside(job.output, "strip.png"), wanted)
    scenes = f", {cuts + 1} scenes" if cuts else ""
    console.print(f"done → {job.output} ({count} frames, {float(job.source.duration):.2f} s{scenes})",
                  highlight=False, soft_wrap=True)
    if job.measure:
        plot, mean = write_flicker(job.output, times, values)
        console.print(f"flicker {mean * 255:.2f} of 255 on average, "
                      f"{np.percentile(values or [0], 95) * 255:.2f} at the 95th percentile → {plot}",
                      highlight=False, soft_wrap=True)


def model_path(name: str) -> str:
    """The file or folder of a fast network, by path or by name.

    Raises:
      JaxstyleError: there is none.
    """
    from jaxstyle.fast.shelf import find_model

    return str(find_model(name))


def load_model(request: Request) -> Any:
    """The fast network of a request as a pure function of images.

    Raises:
      JaxstyleError: there is none of this name, it is damaged, or it has no such style.
    """
    from jaxstyle.video.feed_forward import frame_function, parse_blend

    return frame_function(Path(str(request.model)), parse_blend(request.blend))


def is_made_video(path: Path) -> bool:
    """Whether a path is one that `jaxstyle video` writes: a video file, or a folder of frames."""
    return path.is_dir() or path.suffix.lower() in CODECS


def replay_video(replay: Any, console: Console) -> int:
    """Makes a video again from its manifest, with what has moved as `Replay` says.

    Raises:
      JaxstyleError: it has no manifest, or what it was made from is not there.
    """
    made = replay.picture
    data = files.read_manifest(made) if made.is_dir() else read_recorded(made)
    output = replay.output or made.with_name(f"{made.stem}-replay{made.suffix}")
    if files.is_video(output) != data["video"]["even"]:
        kind = "a video file" if data["video"]["even"] else "a folder of frames (no suffix)"
        raise JaxstyleError(f"{output}: this was {kind}, whose frames may differ in size; write the same "
                            "kind")
    source = None if replay.content is None else Path(replay.content)
    data = located(data, made.resolve().parent)
    request = request_from(data, output, source, replay.style, replay.weights, replay.model)
    return produce(request, console, force=replay.force)
