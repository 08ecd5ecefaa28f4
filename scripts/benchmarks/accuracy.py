"""How exact losses and gradients are in each precision, as a Markdown table.

    scripts/benchmark.py accuracy [SIZE …]

The objective is that of the row `gatys`; the truth is the plain operations in float64. Errors are relative:
of the loss, of the gradient in the Euclidean norm, and of the gradient by medians, which single rectifiers
that switch by rounding do not move.
"""

from __future__ import annotations

import os
import sys

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import common
from benchmarks.evaluations import GATYS, raw_weights
from jaxstyle.backbones.perceptual import Weights
from jaxstyle.references import References
from jaxstyle.transfer.objective import objective, targets


def loss_and_gradient(
    weights: Weights, precision: str | None, size: int
) -> tuple[float, np.ndarray]:
    """Of the row `gatys`; precision None: the plain operations on numbers as wide as they are."""
    os.environ["JAXSTYLE_OPS"] = "fast" if precision else "reference"
    jax.clear_caches()
    network = weights.prepared(precision) if precision else weights
    dtype = network.matrix.dtype
    content, style, x = (jnp.asarray(common.image(size, seed), dtype) for seed in (1, 2, 3))
    goal = jax.jit(targets)(network, References(content=content, styles=(style,)), GATYS)
    value, gradient = jax.jit(jax.value_and_grad(lambda x: objective(network, GATYS, goal, x)[0]))(x)
    return float(value), np.asarray(gradient, np.float64)


def main() -> None:
    """Print the table."""
    jax.config.update("jax_enable_x64", True)
    raw = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), raw_weights())
    print("| pixels | pooling | precision | loss | gradient, norm | gradient, median |")
    print("|---|---|---|---|---|---|")
    for size in map(int, sys.argv[1:] or ["256"]):
        for pooling in ("max", "average"):
            weights = raw.with_network(pooling=pooling)
            wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), weights)
            value, gradient = loss_and_gradient(wide, None, size)
            for name in ("float32", "bfloat16"):
                found, slope = loss_and_gradient(weights, name, size)
                errors = (abs(found / value - 1),
                          np.linalg.norm(slope - gradient) / np.linalg.norm(gradient),
                          np.median(abs(slope - gradient)) / np.median(abs(gradient)))
                print(f"| {size} | {pooling} | {name} | "
                      f"{' | '.join(f'{error:.1e}' for error in errors)} |", flush=True)

