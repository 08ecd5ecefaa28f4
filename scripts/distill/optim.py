"""Optimiser of `distill.py`: orthogonalised momentum in coordinates where a layer's input is white.

The inputs of a convolution inside a network are strongly correlated (neighbouring pixels, similar
filters), which makes plain gradients crawl along the directions of small variance. Here a layer's
kernel and bias are one matrix W `[9·in + 1, out]` acting on patches x; with the patch covariance
H = L·Lᵀ, V = Lᵀ·W acts on white inputs. The step is the orthogonal factor of the momentum in V
(Jordan et al. 2024, "Muon"; which square root of H is taken does not matter to it), mapped back to W.
Knowing H from activations instead of gradients is as in Benzing 2022, "Gradient descent on neurons".
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

# Newton–Schulz iteration for the orthogonal factor, coefficients of Jordan et al.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
MOMENTUM = 0.9
DAMPING = 1e-3


def patches(x: Array, size: int) -> Array:
    """Inputs that a kernel of `size` sees at every position, with a one appended: `[h·w, size²·c + 1]`."""
    height, width, channels = x.shape
    pad = size // 2
    x = jnp.pad(x, ((pad, pad), (pad, pad), (0, 0)), mode="reflect") if pad else x
    taps = [x[i:i + height, j:j + width] for i in range(size) for j in range(size)]
    flat = jnp.concatenate(taps, -1).reshape(-1, size * size * channels)
    return jnp.concatenate([flat, jnp.ones((flat.shape[0], 1), flat.dtype)], 1)


def covariance(x: Array, size: int) -> Array:
    """Uncentred second moment of `patches`."""
    flat = patches(x, size)
    return flat.T @ flat / flat.shape[0]


def whitener(moment: Array) -> Array:
    """L⁻¹ of the damped second moment H = L·Lᵀ."""
    size = moment.shape[0]
    damped = moment + DAMPING * jnp.trace(moment) / size * jnp.eye(size)
    factor = jnp.linalg.cholesky(damped)
    return jax.scipy.linalg.solve_triangular(factor, jnp.eye(size), lower=True)


def matrix(layer: Any) -> Array:
    """Kernel and bias of a layer as one matrix."""
    kernel = layer["kernel"]
    return jnp.concatenate([kernel.reshape(-1, kernel.shape[-1]), layer["bias"][None]])


def layer_like(matrix: Array, layer: Any) -> Any:
    """The inverse of `matrix` for a layer of the shapes of `layer`."""
    return {"kernel": matrix[:-1].reshape(layer["kernel"].shape), "bias": matrix[-1]}


def orthogonal(x: Array) -> Array:
    """Approximately U·Wᵀ of the singular value decomposition U·S·Wᵀ."""
    tall = x.shape[0] > x.shape[1]
    y = x.T if tall else x
    y = y / (jnp.linalg.norm(y) + 1e-12)
    a, b, c = COEFFICIENTS
    for _ in range(5):
        square = y @ y.T
        y = a * y + (b * square + c * square @ square) @ y
    return y.T if tall else y


def step(layer: Any, gradient: Any, momentum: Array, white: Array, rate: Any) -> tuple[Any, Array]:
    """New parameters of a layer, and its momentum.

    A step moves every output by about `rate` (root mean square over inputs) whatever the layer.
    """
    gradient = matrix(gradient)
    momentum = MOMENTUM * momentum + gradient
    direction = orthogonal(white @ (gradient + MOMENTUM * momentum))
    # An orthogonal [d, out] moves an output by sqrt(min(d, out) / out).
    scale = jnp.sqrt(max(1.0, direction.shape[1] / direction.shape[0]))
    return layer_like(matrix(layer) - rate * scale * (white.T @ direction), layer), momentum
