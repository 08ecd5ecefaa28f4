"""What a step of each solver costs, alone and with lanes in lock step, in evaluations of the objective.

    python scripts/time_solvers.py PHOTO PAINTING --weights NAME [--size 64] [--steps 30] [--lanes 4]

Under `vmap` a line search runs until the last lane is content, and both branches of every decision are
computed, so every lane pays for the longest. Adam makes exactly one evaluation per step; the cost of a step
is its time divided by that of a step of Adam (the best of three runs each). Losses show what steps are worth.
"""

import argparse
import time

import jax
import numpy as np

from jaxstyle import References, Stage, load, load_weights, recipes, replace, stylize
from jaxstyle.pytrees import stack
from jaxstyle.solvers import Adam, ArmijoLbfgs, Lbfgs, OptaxLbfgs

SOLVERS = {"Adam": Adam(), "ArmijoLbfgs": ArmijoLbfgs(), "optax zoom": OptaxLbfgs(),
           "jaxopt zoom": Lbfgs(), "jaxopt backtracking": Lbfgs(linesearch="backtracking")}


def timed(program, argument) -> float:
    """Best of three, in seconds."""
    took = []
    for _ in range(3):
        began = time.perf_counter()
        jax.block_until_ready(program(argument))
        took.append(time.perf_counter() - began)
    return min(took)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("photo")
    parser.add_argument("painting")
    parser.add_argument("--weights", default="random")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--lanes", type=int, default=4)
    given = parser.parse_args()
    references = References(content=load(given.photo), styles=(load(given.painting),))
    base = replace(recipes.GATYS_2015, {"stages": (Stage(size=given.size, steps=given.steps),)})
    weights = load_weights(given.weights)
    lanes = [replace(base, {"terms.style.weight": 10.0 ** (1 + i)}) for i in range(given.lanes)]

    def run(weights, recipe):
        return stylize(weights, references, recipe).value

    print(f"{'solver':20} {'compile s':>9} {'alone':>6} {'lock step':>9}  losses")
    unit = None
    for name, solver in SOLVERS.items():
        solved = [replace(lane, {"solver": solver}) for lane in lanes]
        began = time.perf_counter()
        alone = jax.jit(run).lower(weights, solved[0]).compile()
        compiled = time.perf_counter() - began
        together = jax.jit(jax.vmap(run, in_axes=(None, 0))).lower(weights, stack(solved)).compile()
        single = timed(lambda some: [alone(weights, one) for one in some], solved)  # noqa: B023
        lock = timed(lambda some: together(weights, some), stack(solved))  # noqa: B023
        unit = unit or (single, lock)
        losses = " ".join(f"{value:.4g}" for value in np.asarray(together(weights, stack(solved))))
        print(f"{name:20} {compiled:9.1f} {single / unit[0]:6.2f} {lock / unit[1]:9.2f}  {losses}",
              flush=True)


if __name__ == "__main__":
    main()
