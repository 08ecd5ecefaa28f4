"""How often solvers evaluate the objective per step, alone and with lanes in lock step.

    scripts/benchmark.py count-evaluations PHOTO PAINTING --weights NAME [--size 64] [--steps 30] [--lanes 4]

Under `vmap` a line search runs until the last lane is content, and both branches of every decision are
computed, so every lane pays for the longest. Evaluations are counted where they happen, by a callback of the
compiled program; those of a batch count once. Losses show what the steps were worth.
"""

import argparse
import time
from functools import partial

import jax
import numpy as np

from jaxstyle import References, Stage, load, load_weights, recipes, replace
from jaxstyle.pytrees import stack
from jaxstyle.solvers import Adam, ArmijoLbfgs, Lbfgs, OptaxLbfgs, begin_search, search_step
from jaxstyle.transfer.inputs import sized
from jaxstyle.transfer.objective import objective
from jaxstyle.transfer.program import Program, network_for

SOLVERS = {"Adam": Adam(), "ArmijoLbfgs": ArmijoLbfgs(), "jaxopt backtracking": Lbfgs(),
           "optax zoom": OptaxLbfgs(), "jaxopt zoom": Lbfgs(linesearch="zoom")}


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
    weights = network_for(load_weights(given.weights), base)
    ratios = [{"terms.style.weight": 10.0 ** (1 + i)} for i in range(given.lanes)]
    count = 0

    def counted(weights, terms, targets, x, memory):
        def note(_: np.ndarray) -> None:
            nonlocal count
            count += 1

        value, left = objective(weights, terms, targets, x, memory)
        jax.debug.callback(note, jax.lax.stop_gradient(value))
        return value, left

    def run(weights, recipe):
        program = Program(weights, sized(references, recipe.stages[0], 1.0), recipe, 0)
        x = program.first()
        fun = partial(counted, weights, recipe.terms, program.targets(x))
        search = begin_search(recipe.solver, fun, x, {})
        return jax.lax.fori_loop(0, given.steps, lambda _, at: search_step(recipe.solver, fun, at),
                                 search).best.value

    def per_step(program, arguments) -> tuple[float, np.ndarray]:
        nonlocal count
        count = 0
        values = program(weights, arguments)
        jax.block_until_ready(values)
        jax.effects_barrier()
        return (count / values.size - 1) / given.steps, np.asarray(values)

    print(f"{'solver':20} {'compile s':>9} {'alone':>6} {'lock step':>9}  losses alone / in lock step")
    for name, solver in SOLVERS.items():
        lanes = [replace(base, {"solver": solver, **ratio}) for ratio in ratios]
        began = time.perf_counter()
        single = jax.jit(run).lower(weights, lanes[0]).compile()
        compiled = time.perf_counter() - began
        alone = [per_step(single, lane) for lane in lanes]
        lock, together = per_step(jax.jit(jax.vmap(run, in_axes=(None, 0))), stack(lanes))
        losses = " ".join(f"{a[1]:.4g}/{b:.4g}" for a, b in zip(alone, together))
        print(f"{name:20} {compiled:9.1f} {np.mean([a[0] for a in alone]):6.2f} {lock:9.2f}  {losses}",
              flush=True)

