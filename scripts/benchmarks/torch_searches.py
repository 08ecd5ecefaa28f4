"""One variant of the rows `lbfgs`, `sweep` and `stylize` of scripts/benchmark.py in PyTorch (eager).

    python -m benchmarks.torch_searches ROW SIZE PRECISION FORM [--lanes N] [--folder DIR --steps N]

FORM is
"nchw" or "channels-last", for `lbfgs` followed by a history, "nchw 10". The objective is that of recipe
`gatys-2015` from the photo; the solver `torch.optim.LBFGS` with its strong Wolfe line search.
`stylize` is a plain script: it reads DIR/weights.npz, photo.npy and painting.npy, writes DIR/torch.ppm,
prints one line of JSON and ends.
"""

from __future__ import annotations

import argparse
import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks import common
from benchmarks.torch_evaluations import gram, tensor, vgg

STYLE_WEIGHT = 1e3


class Objective:
    """Content (½ Σ (F − P)²) and Gram terms of Gatys et al. 2015 with average pooling, and their targets."""

    def __init__(self, photo: np.ndarray, painting: np.ndarray, precision: str, memory: Any,
                 kernels: Any = None) -> None:
        self.memory, self.autocast = memory, precision == "bfloat16"
        self.features = vgg(memory, kernels, F.avg_pool2d)
        content, style = (tensor(image, memory) for image in (photo, painting))
        with torch.no_grad():
            self.wanted = self.features(content, common.CONTENT)[common.CONTENT]
            found = self.features(style, common.STYLE[-1])
            self.goal = {k: gram(found[k], found[k][0, 0].numel()) for k in common.STYLE}

    def __call__(self, x: torch.Tensor, style_weight: float = STYLE_WEIGHT) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.autocast):
            found = self.features(x.contiguous(memory_format=self.memory), common.STYLE[-1])
            loss = (found[common.CONTENT].float() - self.wanted).square().sum() / 2
            for k in common.STYLE:
                matrix = gram(found[k], found[k][0, 0].numel()).float()
                distance = (matrix - self.goal[k]).square().sum() / (4 * matrix.shape[-1] ** 2)
                loss = loss + style_weight * 0.2 * distance
        return loss


def search(objective: Any, start: np.ndarray, steps: int, history: int, evaluations: int | None = None
           ) -> tuple[torch.Tensor, int, int, float]:
    """The last point, steps and evaluations made (at most those given, roughly), and the last loss."""
    x = tensor(start, torch.contiguous_format).requires_grad_(True)
    solver = torch.optim.LBFGS([x], max_iter=steps, max_eval=evaluations or 25 * steps, history_size=history,
                               tolerance_grad=0, tolerance_change=0, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        solver.zero_grad()
        loss = objective(x)
        loss.backward()
        return loss

    solver.step(closure)
    state = solver.state[x]
    return x.detach(), state["n_iter"], state["func_evals"], float(state["prev_loss"])


def lbfgs(size: int, precision: str, memory: Any, history: int) -> tuple:
    """Seconds per step, and what is left without the evaluations."""
    photo, painting = (common.picture(size, seed) for seed in (1, 2))
    objective, steps = Objective(photo, painting, precision, memory), common.SOLVER_STEPS
    x = tensor(photo, torch.contiguous_format).requires_grad_(True)

    def evaluations() -> None:
        for _ in range(steps):
            x.grad = None
            objective(x).backward()

    def run() -> common.Measured:
        each = np.array(common.clock(evaluations)) / steps
        made = []
        whole = np.array(common.clock(lambda: made.append(search(objective, photo, steps, history)[1:3])))
        done, count = made[0]
        wall, cpu = whole / done
        beyond = 1e3 * (whole - count * each) / done
        return common.Measured(wall, cpu, common.peak(), {
            "evaluations a step": count / done, "ms a step beyond them": beyond[0], "CPU ms": beyond[1]})

    return run, 1, 0.0, float(objective(x).detach())


def sweep(size: int, precision: str, memory: Any, lanes: int) -> tuple:
    """Seconds per lane and evaluation, one lane after the other, as many evaluations as JAX makes steps."""
    photo, painting = (common.picture(size, seed) for seed in (1, 2))
    objective, steps = Objective(photo, painting, precision, memory), common.LANE_STEPS_MEASURED
    weights = common.style_weights(lanes)

    def work() -> int:
        return sum(search(partial(objective, style_weight=weight), photo, steps, 10, steps)[2]
                   for weight in weights)

    def run() -> common.Measured:
        made: list[int] = []
        wall, cpu = common.clock(lambda: made.append(work()))
        return common.Measured(wall / made[0], cpu / made[0], common.peak(), {
            "evaluations a second": made[0] / wall})

    x = tensor(photo, torch.contiguous_format)
    with torch.no_grad():
        check = math.prod(float(objective(x, weight)) ** (1 / lanes) for weight in weights)
    return run, 1, 0.0, check


def stylize(precision: str, memory: Any, folder: Path, steps: int) -> None:
    """A whole run, as many evaluations as `ArmijoLbfgs` makes in so many steps."""
    with np.load(folder / "weights.npz") as file:
        kernels = dict(file)
    photo, painting = (np.load(folder / f"{name}.npy") for name in ("photo", "painting"))
    objective = Objective(photo, painting, precision, memory, kernels)
    x, done, made, loss = search(objective, photo, steps, 10, steps + 1)
    pixels = (x[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    height, width, _ = pixels.shape
    (folder / "torch.ppm").write_bytes(b"P6 %d %d 255\n" % (width, height) + pixels.tobytes())
    print(json.dumps({"loss": loss, "steps": done, "evaluations": made}))


def main() -> None:
    """Serve the variant that the arguments name, or stylize."""
    parser = argparse.ArgumentParser()
    parser.add_argument("row", choices=["lbfgs", "sweep", "stylize"])
    parser.add_argument("size", type=int)
    parser.add_argument("precision")
    parser.add_argument("form")
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--steps", type=int, default=100)
    given = parser.parse_args()
    form, _, history = given.form.partition(" ")
    memory = torch.channels_last if form == "channels-last" else torch.contiguous_format
    if given.row == "stylize":
        stylize(given.precision, memory, given.folder, given.steps)
    elif given.row == "lbfgs":
        common.serve(lambda: lbfgs(given.size, given.precision, memory, int(history)))
    else:
        common.serve(lambda: sweep(given.size, given.precision, memory, given.lanes))


if __name__ == "__main__":
    main()
