"""How many evaluations L-BFGS takes on each canvas to get as far as it gets on pixels.

    scripts/benchmark.py canvases PHOTO PAINTING [--weights NAME] [--size 128] [--steps 200]

One stage of `gatys-2015` (content and Gram matrices) with `ArmijoLbfgs`, one evaluation per step, from the
photo under noise. Prints for each canvas the loss in the end, relative to that of pixels, and the evaluation
at which it is that of pixels after all steps ("–": not reached).
"""

import argparse

import jax
import numpy as np

from jaxstyle import References, Stage, load, load_weights, recipes, replace, stylize_iter
from jaxstyle.transfer.canvas import LaplacianPyramid, Pixels
from jaxstyle.transfer.platform import use_compilation_cache
from jaxstyle.transfer.presets.translation import translated

CANVASES = {"pixels": Pixels(),
            **{f"pyramid of {levels}, gain {gain:g}": LaplacianPyramid(gain=gain, levels=levels)
               for levels, gain in ((3, 0.5), (5, 0.4), (5, 0.5), (5, 1.0))}}


def losses_on(weights, references, recipe) -> np.ndarray:
    """The total loss after every evaluation."""
    found = [np.asarray(at.losses["total"]) for at in stylize_iter(weights, references, recipe, every=50)
             if len(at.losses.get("total", ()))]
    return np.concatenate(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photo")
    parser.add_argument("painting")
    parser.add_argument("--weights", default="vgg19-slim")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=200)
    given = parser.parse_args()
    use_compilation_cache()
    weights = load_weights(given.weights)
    references = References(content=load(given.photo), styles=(load(given.painting),))
    base = replace(translated(recipes.GATYS_2015, weights),
                   {"stages": (Stage(size=given.size, steps=given.steps),), "start.noise": 0.3})
    aim = None
    print(f"{jax.default_backend()}: {given.size} pixels, {given.steps} evaluations")
    for name, canvas in CANVASES.items():
        losses = np.minimum.accumulate(losses_on(weights, references, replace(base, {"canvas": canvas})))
        aim = losses[-1] if aim is None else aim
        reached = np.flatnonzero(losses <= aim)
        print(f"{name:28} {losses[-1] / aim:6.2f}  {reached[0] + 1 if len(reached) else '–'}", flush=True)


if __name__ == "__main__":
    main()
