"""What the experiments on video share: options, runs, and one report of all that a folder holds."""

from __future__ import annotations

import html
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from runner import drawing
from tyro.conf import arg

from jaxstyle import JaxstyleError, load
from jaxstyle.cli.console.terminal import marked, terminal
from jaxstyle.fast.shelf import find_model
from jaxstyle.metrics.distances import measured
from jaxstyle.references import References
from jaxstyle.sweeps.folder import INPUTS
from jaxstyle.transfer.platform import use_compilation_cache
from jaxstyle.video import folder as files
from jaxstyle.video.files.pictures import beside, strip_indices, thumbnail, write_flicker, write_strip
from jaxstyle.video.make import make
from jaxstyle.video.optimise import to_float
from jaxstyle.video.recipe import VideoRecipe, named
from jaxstyle.video.request import Request, job_from
from jaxstyle.weights.store import best_available, load_weights

RESULTS, DRAWN_FRAMES = "results.json", 6


@dataclass(frozen=True)
class Setup:
    """Options of the experiments on video."""

    clip: Annotated[Path | None, arg(metavar="CLIP")] = None
    """A video, or a folder of frames; the first frames that `scripts/draw_clip.py` draws if not given."""
    style: Annotated[Path | None, arg(metavar="PAINTING")] = None
    """The painting; the mosaic that `scripts/draw_mosaic.py` draws if not given."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="DIR")] = Path("runs/video")
    """Folder for results and report; the experiments may share one, and then the report has them all."""
    model: Annotated[str | None, arg(metavar="MODEL")] = None
    """A fast network of this painting; that of the package if no painting is given."""
    blend: Annotated[str, arg(metavar="STYLE=SHARE")] = ""
    """Which of the model's styles is this painting."""
    flow: Annotated[Path | None, arg(metavar="DIR")] = None
    """Folder of .flo files; estimated if not given."""
    size: Annotated[int, arg(metavar="PIXELS")] = 256
    """Longer side of the results."""
    seconds: Annotated[float | None, arg(metavar="S")] = None
    """Length of what is used of the clip; all if not given."""
    weights: Annotated[str | None, arg(metavar="NAME")] = None
    """Network to look through, which also measures; the best that is here if not given."""
    quick: bool = False
    """64 pixels and few steps, to see that it works."""

    def request(self, recipe: VideoRecipe | str | None = None, **changes: Any) -> Request:
        """A video of the clip with a recipe, or with the model where there is none."""
        chosen = named(recipe) if isinstance(recipe, str) else recipe
        if chosen is not None and self.quick:
            chosen = quick(chosen)
        if chosen is None and self.model is None:
            raise JaxstyleError("this experiment takes a fast network: --model MODEL")
        request = Request(source=self.clip, output=self.output, recipe=chosen,
                    styles=() if chosen is None else (str(self.style),),
                    model=self.model if chosen is None else None,
                    blend=self.blend if chosen is None else "",
                    weights=None if chosen is None else self.weights or best_available(),
                    size=min(self.size, 64) if self.quick else self.size,
                    end=None if self.seconds is None else str(Fraction(str(self.seconds))),
                    flow=None if self.flow is None else str(self.flow))
        return replace(request, **changes)


def with_demo(setup: Setup) -> Setup:
    """The setup with a clip and a painting that are drawn, and the package's network, if none are given."""
    folder = setup.output / INPUTS
    if setup.clip is None:
        drawing("draw_clip")["frames"](folder / "clip", DRAWN_FRAMES)
        setup = replace(setup, clip=folder / "clip")
    if setup.style is None:
        drawing("draw_mosaic")["paint"](512, 3).save(folder / "mosaic.png")
        own = {"model": str(find_model("paintings")), "blend": "mosaic=1"} if setup.model is None else {}
        setup = replace(setup, style=folder / "mosaic.png", **own)
    return setup if setup.model is None else replace(setup, model=str(find_model(setup.model)))


def quick(recipe: VideoRecipe) -> VideoRecipe:
    """The recipe with 4 steps a stage."""
    from jaxstyle.pytrees import replace as changed

    stages = {f"{part}.stages.{i}.steps": 4 for part in ("first", "following")
              for i in range(len(getattr(recipe, part).stages))}
    return changed(recipe, stages)


def perform(setup: Setup, label: str, request: Request, console: Console) -> dict[str, Any]:
    """Makes one video as a folder of frames and measures it: flicker, distances, seconds per frame."""
    from jaxstyle.cli.video import load_model

    folder = setup.output / label.replace(" ", "-")
    request = replace(request, output=folder)
    job = job_from(request, None if request.model is None else load_model(request), measure=True)
    files.begin(folder, job.manifest, force=True)
    judge = load_weights(setup.weights or best_available())
    references = References(styles=(jnp.asarray(load(setup.style)),))
    samples = set(strip_indices(len(job.source.times)))
    strip, times, flickers, away, took = [], [], [], [], []
    began = time.monotonic()
    for index, painted in enumerate(make(job)):
        took.append(time.monotonic() - began)
        if painted.flicker is not None:
            times.append(float(painted.frame.time))
            flickers.append(painted.flicker)
        if index in samples:
            strip.append((thumbnail(painted.frame.image), thumbnail(painted.image)))
            seen = References(content=to_float(painted.frame.image), styles=references.styles)
            away.append(measured(judge, seen, sized(job.width, job.height), to_float(painted.image)))
        console.print(f"{label}: frame {index + 1} of {len(job.source.times)}", highlight=False)
        began = time.monotonic()
    write_strip(beside(folder, "strip.png"), strip)
    write_flicker(folder, times, flickers)
    # the first frames of a run compile its programs
    later = took[2:] or took
    return {"label": label, "folder": folder.name, "flicker": float(np.mean(flickers)) if flickers else 0.0,
            "seconds_per_frame": float(np.mean(later)), "frames": len(took),
            "style": float(np.mean([one["style"] for one in away])),
            "content": float(np.mean([one["content"] for one in away]))}


def sized(width: int, height: int) -> Any:
    """A recipe that measures at this size."""
    from jaxstyle.transfer import presets

    return presets.with_size(presets.DEFAULT, max(width, height))


def report(output: Path, about: str) -> None:
    """Writes report.html: every video of the folder with its strip and figures."""
    results = json.loads((output / RESULTS).read_text())
    base = next((one for one in results.values() if one["label"] == "frame by frame"), None)
    rows = []
    for one in results.values():
        ratio = "" if base is None else f"{one['flicker'] / max(base['flicker'], 1e-9):.2f}"
        figures = (f"{one['flicker'] * 255:.2f}", ratio, f"{one['style']:.4f}", f"{one['content']:.3f}",
                   f"{one['seconds_per_frame']:.2f}", one["frames"])
        cells = "".join(f"<td>{figure}</td>" for figure in figures)
        strip, plot = (f"{html.escape(one['folder'])}-{name}.png" for name in ("strip", "flicker"))
        rows.append(f"<tr><th>{html.escape(one['label'])}</th>{cells}</tr><tr><td colspan=7>"
                    f"<img src='{strip}' width='100%'><br><img src='{plot}' width='60%'></td></tr>")
    head = "".join(f"<th>{name}</th>" for name in ("", "flicker of 255", "× frame by frame", "style distance",
                                                   "content distance", "seconds per frame", "frames"))
    page = ("<!doctype html><meta charset='utf-8'><title>Video</title><style>body{font:15px sans-serif;"
            "max-width:1200px;margin:2em auto}td,th{padding:.3em .7em;text-align:left}</style>"
            f"<h1>Video</h1><pre>{html.escape(about)}</pre><table><tr>{head}</tr>{''.join(rows)}</table>")
    (output / "report.html").write_text(page)


def main(about: str | None, variants: Callable[[Setup], Mapping[str, Request]],
         arguments: Sequence[str] | None = None) -> int:
    """Run an experiment from its command line; returns the exit code."""
    console = terminal()
    try:
        setup = tyro.cli(Setup, description=about or "", args=arguments,
                         config=(tyro.conf.FlagCreatePairsOff,))
        use_compilation_cache()
        (setup.output / INPUTS).mkdir(parents=True, exist_ok=True)
        setup = with_demo(setup)
        path = setup.output / RESULTS
        results = json.loads(path.read_text()) if path.is_file() else {}
        for label, request in variants(setup).items():
            results[label] = perform(setup, label, request, console)
            path.write_text(json.dumps(results, indent=1))
        report(setup.output, (about or "").strip())
        console.print(f"done → {setup.output / 'report.html'}", highlight=False)
    except JaxstyleError as error:
        console.print(marked("error:", "red", error))
        return 2
    return 0


def run(about: str | None, variants: Callable[[Setup], Mapping[str, Request]]) -> None:
    """`main`, for a script."""
    sys.exit(main(about, variants))
