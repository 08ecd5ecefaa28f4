"""What the measured programs share: inputs from NumPy, and how a worker talks to scripts/benchmark.py.

A worker is one process with one variant of one row. It answers each line on its standard input with one
measurement, so that the driver can let the variants of a row take turns.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

VGG19 = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,))
STYLE = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
CONTENT = "conv4_2"
# The loss of Johnson et al. 2016 for training their network.
FAST_STYLE, FAST_CONTENT = ("conv1_2", "conv2_2", "conv3_3", "conv4_1"), "conv3_3"
# Name, kernel side, input and output channels, stride, enlargement (Johnson et al. 2016).
FAST_NETWORK = (
    ("c1", 9, 3, 32, 1, 1), ("c2", 3, 32, 64, 2, 1), ("c3", 3, 64, 128, 2, 1),
    *((f"r{i}{j}", 3, 128, 128, 1, 1) for i in range(5) for j in "ab"),
    ("u1", 3, 128, 64, 1, 2), ("u2", 3, 64, 32, 1, 2), ("out", 9, 32, 3, 1, 1),
)
BATCH = 4
# Steps of an optimisation whose solver is measured; of a lane of a sweep, and of those the measured ones.
SOLVER_STEPS = 20
LANE_STEPS, LANE_STEPS_MEASURED = 100, 20


class Measured(NamedTuple):
    """What a worker's function returns if it measures by itself: seconds, MB, and other numbers by name."""

    wall: float
    cpu: float
    peak: float
    extra: dict[str, float]


def kernels(shapes: list[tuple[str, int, int, int]]) -> dict[str, np.ndarray]:
    """He-normal `[k, k, in, out]` for every (name, k, in, out)."""
    rng = np.random.default_rng(0)
    return {name: (rng.standard_normal((k, k, i, o)) * np.sqrt(2 / (k * k * i))).astype(np.float32)
            for name, k, i, o in shapes}


def vgg_kernels() -> dict[str, np.ndarray]:
    """Random VGG-19 up to conv5_1."""
    shapes, inputs = [], 3
    for i, block in enumerate(VGG19, start=1):
        for j, width in enumerate(block, start=1):
            shapes.append((f"conv{i}_{j}", 3, inputs, width))
            inputs = width
    return kernels(shapes)


def fast_kernels() -> dict[str, np.ndarray]:
    """Random transformation network."""
    return kernels([layer[:4] for layer in FAST_NETWORK])


def image(size: int, seed: int) -> np.ndarray:
    """`[size, size, 3]` of coarse blocks under noise, in the range of a network's input."""
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.standard_normal((size // 8, size // 8, 3)), np.ones((8, 8, 1)))
    return (coarse + 0.3 * rng.standard_normal((size, size, 3))).astype(np.float32)


def picture(size: int, seed: int) -> np.ndarray:
    """`[size, size, 3]` in [0, 1]: colours of 8×8 blocks under noise, in steps of 1/255 as in a file."""
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.random((-(-size // 8), -(-size // 8), 3)), np.ones((8, 8, 1)))[:size, :size]
    noisy = np.clip(coarse + 0.05 * rng.standard_normal((size, size, 3)), 0, 1)
    return (np.round(255 * noisy) / 255).astype(np.float32)


def style_weights(lanes: int) -> list[float]:
    """Weights of the style term of the lanes of a sweep, 10 … 10⁵."""
    return [10.0 ** (1 + 4 * i / max(1, lanes - 1)) for i in range(lanes)]


def features(size: int, block: int, seed: int) -> np.ndarray:
    """Rectified `[h, w, c]` like conv3_1 or conv4_1 of an image of `size` pixels."""
    side, channels = size >> (block - 1), {3: 256, 4: 512}[block]
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.standard_normal((side // 2, side // 2, channels)), np.ones((2, 2, 1)))
    noise = rng.standard_normal((side, side, channels))
    return np.maximum(coarse + 0.7 * noise, 0).astype(np.float32)


TERM_GAMMA = 5.0  # of maps beside features, in the rows of the whole patch term


def guided(size: int, block: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`features` and beside them a map of three labels: `[h, w, c]`, `[h, w, c + 3]`."""
    found = features(size, block, seed)
    rng = np.random.default_rng(100 + seed)
    side = len(found)
    labels = rng.integers(0, 3, (-(-side // 8),) * 2).repeat(8, 0).repeat(8, 1)[:side, :side]
    return found, np.concatenate([found, TERM_GAMMA * np.eye(3, dtype=np.float32)[labels]], -1)


def flops(row: str, size: int) -> float:
    """Arithmetic of the plain (direct) computation of a row, which is what all variants compute; 0 where a
    row has no such number."""
    if row not in ("gatys", "patches3", "patches4", "fast-inference", "fast-training"):
        return 0.0
    if row.startswith("patches"):
        block = int(row[-1])
        side = size >> (block - 1)
        return 2.0 * (side - 2) ** 4 * 9 * {3: 256, 4: 512}[block]
    if row == "gatys":
        return 2 * _vgg_flops(size, 5)
    total, side = 0.0, size
    for _, k, i, o, stride, up in FAST_NETWORK:
        side = side * up // stride
        total += 2.0 * side * side * k * k * i * o
    # Training: forward, image and weight gradient; the loss network forward (twice), back once.
    return total if row == "fast-inference" else BATCH * (3 * total + 3 * _vgg_flops(size, 4))


def _vgg_flops(size: int, blocks: int) -> float:
    total, inputs = 0.0, 3
    for i, block in enumerate(VGG19[:blocks]):
        for width in block[:1] if i == blocks - 1 or (blocks == 5 and i == 4) else block:
            total += 2.0 * (size >> i) ** 2 * 9 * inputs * width
            inputs = width
    return total


def clock(work: Callable[[], object]) -> tuple[float, float]:
    """Wall seconds and CPU seconds (of all threads) of some work."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def peak() -> float:
    """Peak resident memory of this process, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def serve(prepare: Callable[[], tuple[Callable[[], object], int, float, float | None]]) -> None:
    """Set up, then measure once per line read.

    Args:
      prepare: returns a function that does the work `count` times and waits for it (or returns `Measured`,
        for one time), `count`, seconds of compilation, and a number that all variants of the row must agree
        on (None: nothing to compare).
    """
    run, count, compiled, check = prepare()
    if count:
        run()
    print(json.dumps({"compile": compiled, "check": check}), flush=True)
    for _ in sys.stdin:
        found: list[object] = []
        wall, cpu = clock(lambda: found.append(run()))  # noqa: B023
        measured = found[0]
        if not isinstance(measured, Measured):
            measured = Measured(wall / count, cpu / count, peak(), {})
        print(json.dumps(measured._asdict()), flush=True)
