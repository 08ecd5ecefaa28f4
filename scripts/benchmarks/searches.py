"""One variant of the rows `lbfgs` and `sweep` of scripts/benchmark.py in JAX, with the project's own loop.

    python -m benchmarks.searches ROW SIZE PRECISION FORM [--lanes N] [--cores N]

The objective is that of recipe
`gatys-2015` on a full-width VGG-19 of random numbers, starting from the photo. FORM is for `lbfgs` a solver
and its history, "ArmijoLbfgs 10"; for `sweep` how the lanes run: "default" (as `jaxstyle sweep` does it), a
number of lanes in lock step on each device, or "alone" (single runs one after the other).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from benchmarks import common
from benchmarks.evaluations import compiled, raw_weights
from jaxstyle import Recipe, References, Stage, recipes, replace, solvers, stylize_iter
from jaxstyle.sweeps.capacity import fitting_width
from jaxstyle.sweeps.program import place, run_lanes
from jaxstyle.transfer.inputs import sized
from jaxstyle.transfer.layout import lane_mesh
from jaxstyle.transfer.objective import objective
from jaxstyle.transfer.program import Program, network_for


def recipe(precision: str, steps: int, solver: Any) -> Recipe:
    """`gatys-2015` from the photo, at the photo's own size."""
    return replace(recipes.GATYS_2015, {"solver": solver, "start.noise": 0.0, "precision": precision,
                                        "stages": (Stage(size=None, steps=steps),)})


def references(size: int) -> References:
    """Photo and painting."""
    photo, painting = (jnp.asarray(common.picture(size, seed)) for seed in (1, 2))
    return References(content=photo, styles=(painting,))


class Counted:
    """An objective that counts its evaluations where they happen, by a callback of the compiled program."""

    def __init__(self) -> None:
        self.made = 0

    def note(self, _: Any) -> None:
        self.made += 1

    def __call__(self, fun: Callable, x: Array, memory: Any = ()) -> tuple[Array, Any]:
        value, left = fun(x, memory)
        jax.debug.callback(self.note, lax.stop_gradient(value))
        return value, left


def overhead(solver: Any, make: Callable, given: tuple, start: Array) -> tuple[Callable, float]:
    """Measures what a step costs beyond its evaluations.

    Args:
      make: from `given` (arguments of the program) to the objective.

    Returns:
      A function that measures wall and CPU seconds per step, the same beyond the evaluations, and evaluations
      per step; and seconds of compilation. Evaluations that are timed alone are counted in the same way, so
      that counting costs nothing in the difference.
    """
    counted, steps = Counted(), common.SOLVER_STEPS

    def search(x: Array, *given: Any) -> Array:
        fun = partial(counted, make(*given))
        at = solvers.begin_search(solver, fun, x, {})
        return lax.fori_loop(0, steps, lambda _, at: solvers.search_step(solver, fun, at), at).best.value

    def evaluations(x: Array, *given: Any) -> Array:
        fun = partial(counted, make(*given))
        return lax.fori_loop(0, steps, lambda _, x: x - 1e-9 * solvers.evaluate(fun, x).grad, x)

    (searching, a), (evaluating, b) = (compiled(of, start, *given) for of in (search, evaluations))

    def run(program: Any) -> None:
        jax.block_until_ready(program(start, *given))
        jax.effects_barrier()

    def measure() -> tuple[np.ndarray, np.ndarray, float]:
        each = np.array(common.clock(partial(run, evaluating))) / steps
        counted.made = 0
        whole = np.array(common.clock(partial(run, searching)))
        return whole / steps, (whole - counted.made * each) / steps, counted.made / steps

    return measure, a + b


def lbfgs(size: int, precision: str, form: str) -> tuple:
    """Seconds per step of a solver, on the real objective, and on one that costs next to nothing."""
    name, history = form.split()
    solver = getattr(solvers, name)(history=int(history))
    chosen, pictures = recipe(precision, common.SOLVER_STEPS, solver), references(size)
    network = network_for(raw_weights(), chosen)
    program = Program(network, sized(pictures, chosen.stages[0], chosen.style_scale), chosen, 0)
    start = program.first()
    goal = program.targets(start)
    check = float(objective(network, chosen.terms, goal, start)[0])

    def real(network: Any, goal: Any) -> Callable:
        return partial(objective, network, chosen.terms, goal)  # of an image and a memory

    def cheap(scale: Array, middle: Array) -> Callable:
        return lambda x, memory: (jnp.sum(scale * jnp.square(x - middle)), ({}, memory))

    scale = jnp.logspace(0, 4, start.size).reshape(start.shape)
    on_real, a = overhead(solver, real, (network.prepared(precision), goal), start)
    on_cheap, b = overhead(solver, cheap, (scale, 1 - start), start)

    def run() -> common.Measured:
        (wall, cpu), beyond, evaluations = on_real()
        _, beyond_cheap, _ = on_cheap()
        return common.Measured(wall, cpu, common.peak(), {
            "evaluations a step": evaluations, "ms a step beyond them": 1e3 * beyond[0],
            "CPU ms": 1e3 * beyond[1], "ms on a cheap objective": 1e3 * beyond_cheap[0],
            "CPU ms on it": 1e3 * beyond_cheap[1]})

    return run, 1, a + b, check


def sweep(size: int, precision: str, form: str, lanes: int) -> tuple:
    """Seconds per lane and step, over the first steps of each lane."""
    base = recipe(precision, common.LANE_STEPS, solvers.ArmijoLbfgs())
    varied = [replace(base, {"terms.style.weight": weight}) for weight in common.style_weights(lanes)]
    weights, pictures, mesh = raw_weights(), references(size), lane_mesh()
    if form == "default":
        width = fitting_width(weights, [pictures] * lanes, varied, mesh)
    else:
        width = 1 if form == "alone" else int(form) * mesh.devices.size

    def snapshots(some: list[Recipe], until: int) -> Any:
        if form == "alone":
            return stylize_iter(weights, pictures, some[0], every=until)
        batch = place(weights, [pictures] * len(some), some, width, mesh)
        return run_lanes(batch, stops=(until,))

    def work(until: int) -> float:
        """Takes all lanes so far; the geometric mean of their first losses."""
        total = 0.0
        for i in range(0, lanes, width):
            for at in snapshots(varied[i:i + width], until):
                total += float(np.sum(np.log(at.search.best.value))) if at.step == 0 else 0.0
                if at.step == until:
                    break
        return float(np.exp(total / lanes))

    def run() -> common.Measured:
        wall, cpu = common.clock(partial(work, common.LANE_STEPS_MEASURED))
        made = lanes * common.LANE_STEPS_MEASURED
        return common.Measured(wall / made, cpu / made, common.peak(), {
            "evaluations a second": (made + lanes) / wall, "devices": jax.local_device_count(),
            "lanes in lock step": width / mesh.devices.size})

    compilation = [0.0]
    jax.monitoring.register_event_duration_secs_listener(partial(add_compilation, compilation))
    check = work(1)
    return run, 0, compilation[0], check


def add_compilation(total: list[float], event: str, seconds: float, **_: Any) -> None:
    """Listener for `jax.monitoring`."""
    total[0] += seconds if event.endswith("backend_compile_duration") else 0.0


def main() -> None:
    """Serve the variant that the arguments name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("row", choices=["lbfgs", "sweep"])
    parser.add_argument("size", type=int)
    parser.add_argument("precision")
    parser.add_argument("form")
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--cores", type=int, help="run on so many cores only")
    given = parser.parse_args()
    if given.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:given.cores])
    if given.row == "lbfgs":
        common.serve(lambda: lbfgs(given.size, given.precision, given.form))
    else:
        common.serve(lambda: sweep(given.size, given.precision, given.form, given.lanes))


if __name__ == "__main__":
    main()
