"""Plain `lax` form of every operation: the definition that the faster forms must equal.

All take one image `[H, W, C]`; batches come from `vmap`. JAX differentiates these to any order and
in both modes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

PAD_MODES = {"zero": "constant", "reflect": "reflect", "replicate": "edge"}


def prepare(params: Any, precision: str = "float32") -> Any:
    """The parameters as they are: these forms use the plain kernel and compute in its precision."""
    del precision
    return params


def out_size(size: int, kernel: int, stride: int, pad: int) -> int:
    """Outputs of a correlation along one axis; 0 where the kernel exceeds the padded image."""
    return max(0, (size + 2 * pad - kernel) // stride + 1)


def conv(
    x: Array, params: Mapping[str, Any], *, border: str = "zero", stride: int = 1,
    padding: int | None = None, relu: bool = False,
) -> Array:
    """Cross-correlation plus bias, optionally rectified.

    Args:
      x: `[H, W, I]`.
      params: "kernel" `[kh, kw, I, O]` and "bias" `[O]`, plus whatever `prepare` added.
      border: "zero", "reflect" or "replicate": how the image goes on outside.
      padding: pixels added on each side; None keeps the size at stride 1 (`k // 2`).

    Returns:
      `[H', W', O]` with H' = max(0, (H + 2·padding − kh) // stride + 1).
    """
    kernel = params["kernel"]
    kh, kw, _, channels = kernel.shape
    pad = kh // 2 if padding is None else padding
    height, width = out_size(x.shape[0], kh, stride, pad), out_size(x.shape[1], kw, stride, pad)
    if 0 in (*x.shape, height, width):
        return jnp.zeros((height, width, channels), x.dtype)
    if pad:
        x = jnp.pad(x, ((pad, pad), (pad, pad), (0, 0)), mode=PAD_MODES[border])
    y = lax.conv_general_dilated(
        x[None], kernel.astype(x.dtype), (stride, stride), "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )[0] + params["bias"].astype(x.dtype)
    return jax.nn.relu(y) if relu else y


def max_pool(x: Array) -> Array:
    """Maximum of 2×2 blocks, `[H, W, C]` -> `[H//2, W//2, C]`; an odd row or column is dropped."""
    return lax.reduce_window(x, -jnp.inf, lax.max, (2, 2, 1), (2, 2, 1), "VALID")


def average_pool(x: Array) -> Array:
    """Mean of 2×2 blocks, `[H, W, C]` -> `[H//2, W//2, C]`; an odd row or column is dropped."""
    return lax.reduce_window(x, 0.0, lax.add, (2, 2, 1), (2, 2, 1), "VALID") / 4


def gram(x: Array) -> Array:
    """Sum over positions of outer products of features, `[H, W, C]` -> `[C, C]`; not normalised."""
    flat = x.reshape(-1, x.shape[-1])
    return flat.T @ flat


def squared_gram_distance(x: Array, target: Array, scale: Any = 1.0) -> Array:
    """sum((scale·gram(x) − target)²), scalar, of features `[H, W, C]` and a matrix `[C, C]`."""
    return jnp.sum((gram(x) * scale - target) ** 2)
