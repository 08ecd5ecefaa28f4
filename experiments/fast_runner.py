"""What experiments on fast networks share: options, trainings side by side, a table and the pictures.

An experiment is a docstring and a function `variants(base)`: label -> recipe; `main` trains each in a folder
of its own (run again to go on), measures, and writes `results.json`, `results.md` and `samples.png`.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
import tyro
from PIL import Image
from runner import demo_pictures, drawing
from tyro.conf import arg

from jaxstyle import JaxstyleError, load, load_weights, replace, save
from jaxstyle.fast.card import Card
from jaxstyle.fast.model import Model, read_model
from jaxstyle.fast.network import stylized
from jaxstyle.fast.training import recipes
from jaxstyle.fast.training.data import gathered
from jaxstyle.fast.training.folder import Bookkeeping, begin
from jaxstyle.fast.training.folder import run as train_in
from jaxstyle.fast.training.loop import held_out_loss, make_task
from jaxstyle.fast.training.recipe import Training
from jaxstyle.sweeps.folder import INPUTS
from jaxstyle.transfer.platform import use_compilation_cache
from jaxstyle.weights.store import best_available, sha256

Measure = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Options:
    """Options of every experiment on fast networks."""

    style: Annotated[Path | None, arg(metavar="PAINTING")] = None
    """The painting; that of the demo if neither it nor photos are given."""
    photos: Annotated[Path | None, arg(metavar="DIR")] = None
    """Folder of photos; pieces of the demo's photo if not given."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="DIR")] = Path("runs") / Path(sys.argv[0]).stem
    """Folder for the results; runs/NAME if not given."""
    quick: bool = False
    """30 steps of a small network on 32 pixels, to see that it works; too short to judge."""
    steps: int = 2000
    """Steps of each training."""
    crop: int = 128
    """Side of the crops."""
    batch: int = 2
    """Photos per step."""
    width: int = 16
    """Channels of the first layer."""
    depth: int = 5
    """Residual blocks."""
    weights: str | None = None
    """Network to look through, if the experiment does not say."""

    def base(self) -> Training:
        """The default recipe at the size asked for, with instance norm."""
        return replace(recipes.DEFAULT, {
            "steps": self.steps, "crop": self.crop, "batch": self.batch, "style_size": 2 * self.crop,
            "architecture.width": self.width, "architecture.depth": self.depth,
            "architecture.norm": "instance"})


def made_quick(options: Options) -> Options:
    """The options as they are run."""
    if not options.quick:
        return options
    return dataclasses.replace(options, steps=min(options.steps, 30), crop=min(options.crop, 32),
                               width=min(options.width, 8), depth=min(options.depth, 2))


def with_demo(options: Any, painting: Callable[[], Image.Image]) -> Any:
    """Options (`style`, `photos`, `output`) with a painting that is drawn and pieces of the demo's photo, if
    they have neither.

    Raises:
      JaxstyleError: a painting without photos, or the other way round.
    """
    if (options.style is None) != (options.photos is None):
        raise JaxstyleError("give both --style PAINTING and --photos DIR, or neither for the demo's")
    if options.style is not None:
        return options
    folder = options.output / INPUTS
    photo, _ = demo_pictures(folder)
    painting().save(folder / "drawn.png")
    return dataclasses.replace(options, style=folder / "drawn.png", photos=pieces(photo, folder / "photos"))


def pieces(photo: Path, folder: Path) -> Path:
    """A folder of 48 square pieces of a photo."""
    folder.mkdir(parents=True, exist_ok=True)
    image, rng = load(photo), np.random.default_rng(0)
    side = min(image.shape[:2]) // 3
    for i in range(48):
        top, left = (rng.integers(0, length - side) for length in image.shape[:2])
        if not (path := folder / f"{i:02d}.png").exists():
            save(path, image[top : top + side, left : left + side])
    return folder


def trained(options: Options, label: str, recipe: Training, weights_name: str | None) -> dict[str, Any]:
    """One training in its folder, on from where it is; its model, held-out losses and seconds per step."""
    weights = load_weights(weights_name or options.weights or best_available())
    recipe, changed = recipes.on_network(recipe, weights)
    folder = options.output / label.replace(" ", "-").replace("/", "-")
    task = make_task(recipe, weights, [load(options.style)])
    found = gathered(options.photos, size=recipe.crop, batch=recipe.batch, seed=0,
                     least_scale=recipe.least_scale)
    card = Card(name=label, styles=(options.style.stem,))
    books = Bookkeeping(card=card, identity={"painting": sha256(options.style), "photos": found.sha256,
                                     "weights": weights.sha256}, held_out=found.held_out,
                save_every=max(10, recipe.steps // 4), sample_every=recipe.steps)
    begin(folder, recipe, books, resume=True)
    seconds, state = [], None
    for progress in train_in(folder, recipe, task, found.photos, books):
        seconds.append(progress.report.seconds)
        state = progress.report.state
        print(f"{label}: step {progress.report.step}/{recipe.steps} {progress.report.losses['total']:.4g}",
              file=sys.stderr)
    found.photos.close()
    losses = held_out_loss(recipe, task, state, found.held_out) if state else \
        read_model(folder).card.losses["held_out"]
    return {"label": label, "losses": losses, "seconds": float(np.median(seconds)) if seconds else None,
            "note": changed, "model": read_model(folder), "photos": found.held_out}


def shown(model: Model, photos: np.ndarray) -> np.ndarray:
    """What a model makes of photos `[n, S, S, 3]`, clipped."""
    return np.stack([np.clip(stylized(model.network, model.params, jnp.asarray(photo), None,
                                      model.statistics), 0, 1) for photo in photos])


def main(about: str | None, variants: Callable[[Training], Mapping[str, Any]],
         measures: Mapping[str, Measure] | None = None, arguments: Sequence[str] | None = None) -> int:
    """Trains every variant: a recipe, or a recipe and the name of the network to look through.

    Args:
      measures: name -> function of photos and results, both `[n, S, S, 3]`.
    """
    options = tyro.cli(Options, description=about, args=arguments, config=(tyro.conf.FlagCreatePairsOff,))
    try:
        options = with_demo(made_quick(options), lambda: drawing("draw_painting")["paint"](512, 7))
        if arguments is None:
            use_compilation_cache()
        rows, strips = [], []
        for label, variant in variants(options.base()).items():
            recipe, weights = variant if isinstance(variant, tuple) else (variant, None)
            found = trained(options, label, recipe, weights)
            results = shown(found["model"], found["photos"])
            figures = {name: measure(found["photos"], results) for name, measure in (measures or {}).items()}
            rows.append({"label": label, "seconds per step": found["seconds"], "note": found["note"],
                         **{f"held-out {name}": value for name, value in found["losses"].items()}, **figures})
            strips.append(np.concatenate([found["photos"][0], *results[:3]], 1))
        write(options.output, about, rows, strips)
    except JaxstyleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def write(folder: Path, about: str | None, rows: Sequence[Mapping[str, Any]],
          strips: Sequence[np.ndarray]) -> None:
    """The table as JSON and Markdown, and a photo beside three results for every variant."""
    (folder / "results.json").write_text(json.dumps(rows, indent=1))
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [(about or "").strip(), "", "| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(text(row.get(name, "")) for name in names) + " |" for row in rows]
    (folder / "results.md").write_text("\n".join(lines) + "\n")
    save(folder / "samples.png", np.concatenate(strips))
    print("\n".join(lines[2:]))


def text(value: Any) -> str:
    """A figure, short."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def contrast(photos: np.ndarray, results: np.ndarray) -> float:
    """Correlation, over photos, of the deviation of a photo's brightness with that of its result.

    1: results are as contrasty as their photos ("keeps the contrast of the content"); 0: all alike.
    """
    before, after = (images.mean(-1).std((1, 2)) for images in (photos, results))
    return float(np.corrcoef(before, after)[0, 1])


def checkerboard(photos: np.ndarray, results: np.ndarray) -> float:
    """Energy of `results` at the frequencies of 2- and 4-pixel lattices, against that beside them.

    Mean power of the spectrum's rows and columns at a half and a quarter of a cycle per pixel, divided by the
    power two bins beside them: 1 where there is no lattice.
    """
    grey = results.mean(-1)
    power = (np.abs(np.fft.fft2(grey - grey.mean((1, 2), keepdims=True))) ** 2).mean(0)
    size = power.shape[0]
    along = power.sum(0) + power.sum(1)
    on = [along[size // 2], along[size // 4]]
    beside = [along[size // 2 - 2], (along[size // 4 - 2] + along[size // 4 + 2]) / 2]
    return float(np.mean(np.divide(on, beside)))
