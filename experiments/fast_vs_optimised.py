"""A fast network against optimisation: how many L-BFGS steps from the photo reach the loss of its output.

Source: Johnson, Alahi & Fei-Fei 2016, figure 5 (50 to 100 L-BFGS steps).
Question: what is the network's output worth in steps, and what do both cost in time?
Command: python experiments/fast_vs_optimised.py --model MODEL --style PAINTING --photos DIR -o runs/fast-vs
Cost: one search of 200 steps for each photo.
Look for: the network's loss lies at that of 50 steps or more, in a thousandth of the time; `samples.png` has
each photo, the network's picture of it, and the optimised one.
"""

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import tyro
from fast_runner import with_demo
from runner import drawing
from tyro.conf import arg

from jaxstyle import (
    JaxstyleError,
    Recipe,
    References,
    Stage,
    Start,
    load,
    load_weights,
    resize,
    save,
    stylize_iter,
)
from jaxstyle.fast.apply import Look, pictures, prepared, restyled
from jaxstyle.fast.model import read_model
from jaxstyle.fast.shelf import find_model
from jaxstyle.fast.training.data import resized
from jaxstyle.fast.training.recipes import RELATIVE
from jaxstyle.solvers import ArmijoLbfgs
from jaxstyle.transfer.objective import objective, targets
from jaxstyle.weights.store import best_available


@dataclasses.dataclass(frozen=True)
class Options:
    model: Annotated[str, arg(metavar="MODEL")] = "paintings"
    style: Annotated[Path | None, arg(metavar="PAINTING")] = None
    """The painting; the mosaic of the bundled model, drawn again, if neither it nor photos are given."""
    photos: Annotated[Path | None, arg(metavar="DIR")] = None
    output: Annotated[Path, arg(aliases=("-o",), metavar="DIR")] = Path("runs/fast_vs_optimised")
    quick: bool = False
    """Two photos at 96 pixels, 30 steps: to see that it works."""
    name: str = ""
    """Style of the model; the painting's file name if not given."""
    style_weight: float = 10.0
    size: int = 256
    style_size: int = 384
    steps: int = 200
    count: int = 10
    """Photos."""
    weights: str | None = None


def chosen(options: Options) -> Options:
    """The options as they are run: quick ones made small, with the mosaic of the bundled model if need be."""
    if options.quick:
        options = dataclasses.replace(options, size=96, steps=30, count=2)
    if options.style is None:
        options = dataclasses.replace(options, name=options.name or "mosaic")
    return with_demo(options, lambda: drawing("draw_mosaic")["paint"](512, 3))


def compared(options: Options) -> tuple[list[dict], list[np.ndarray]]:
    """For each photo the network's loss, that of every 10 L-BFGS steps, equivalent steps, and seconds; and
    photo, network's picture and optimised one beside each other."""
    weights = load_weights(options.weights or best_available()).with_network(pooling="average")
    model = prepared(read_model(find_model(options.model)))
    look = Look(blend={options.name or options.style.stem: 1.0}, regions={})
    # The photo in the painting's colours, as trainings of the default recipe see it (`Training.palette`).
    terms = {**RELATIVE, "content": dataclasses.replace(RELATIVE["content"], palette=1.0),
             "style": dataclasses.replace(RELATIVE["style"], weight=options.style_weight)}
    painting = np.asarray(resize(load(options.style), options.style_size))
    loss = jax.jit(lambda weights, aims, image: objective(weights, terms, aims, image)[0])
    rows, strips = [], []
    for path in pictures([str(options.photos)])[:options.count]:
        photo = load(path)
        side = min(photo.shape[:2])
        photo = resized(photo[:side, :side], options.size, options.size)
        references = References(content=photo, styles=(painting,))
        aims = jax.jit(lambda weights, references: targets(weights, references, terms))(weights, references)
        restyled(model, photo, look)
        began = time.perf_counter()
        image = restyled(model, photo, look)
        fast = time.perf_counter() - began
        reached = float(loss(weights, aims, image))
        recipe = Recipe(terms=terms, solver=ArmijoLbfgs(), start=Start(noise=0.0), pooling="average",
                        stages=(Stage(size=None, steps=options.steps),))
        began = time.perf_counter()
        curve = {}
        for at in stylize_iter(weights, references, recipe, every=10):
            curve[at.step] = at.loss["total"]
        slow = time.perf_counter() - began
        beaten = [step for step, value in curve.items() if value > reached]
        rows.append({"photo": path.name, "network": reached, "curve": curve, "steps": max(beaten, default=0),
                     "seconds network": fast, "seconds optimised": slow})
        strips.append(np.concatenate([photo, np.asarray(image), np.clip(np.asarray(at.image), 0, 1)], 1))
        print(f"{path.name}: {reached:.4g}, worth {rows[-1]['steps']} steps; "
              f"{fast:.3f} s against {slow:.1f} s")
    return rows, strips


if __name__ == "__main__":
    asked = tyro.cli(Options, description=__doc__, config=(tyro.conf.FlagCreatePairsOff,))
    try:
        found, pictured = compared(chosen(asked))
        asked.output.mkdir(parents=True, exist_ok=True)
        (asked.output / "results.json").write_text(json.dumps(found, indent=1))
        save(asked.output / "samples.png", np.concatenate(pictured))
    except JaxstyleError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
