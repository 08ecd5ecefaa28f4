"""Plain `lax` form of every operation: the definition that faster forms must equal.

All take one image `[H, W, C]`; batches come from `vmap`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

PAD_MODES = {"zero": "constant", "reflect": "reflect", "replicate": "edge"}


def prepare(params: Any, precision: str = "float32") -> Any:
    """Convolution parameters in the form that `conv` computes fastest with; made once per run."""
    del precision
    return params


def conv(
    x: Array, params: Mapping[str, Array], *, border: str = "zero", stride: int = 1,
    padding: int | None = None, relu: bool = False,
) -> Array:
    """Cross-correlation plus bias, optionally rectified.

    Args:
      x: `[H, W, I]`.
      params: "kernel" `[kh, kw, I, O]` and "bias" `[O]`, plus whatever `prepare` added.
      border: "zero", "reflect" or "replicate": how the image goes on outside.
      padding: pixels added on each side; None keeps the size at stride 1 (`k // 2`).

    Returns:
      `[H', W', O]` with H' = (H + 2·padding − kh) // stride + 1.
    """
    kernel = params["kernel"]
    pad = kernel.shape[0] // 2 if padding is None else padding
    if pad:
        x = jnp.pad(x, ((pad, pad), (pad, pad), (0, 0)), mode=PAD_MODES[border])
    y = lax.conv_general_dilated(
        x[None], kernel.astype(x.dtype), (stride, stride), "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )[0] + params["bias"].astype(x.dtype)
    return jax.nn.relu(y) if relu else y


def max_pool(x: Array) -> Array:
    """Maximum of 2×2 blocks, `[H, W, C]` -> `[H//2, W//2, C]` (an odd last row or column is dropped)."""
    return lax.reduce_window(x, -jnp.inf, lax.max, (2, 2, 1), (2, 2, 1), "VALID")


def average_pool(x: Array) -> Array:
    """Mean of 2×2 blocks, `[H, W, C]` -> `[H//2, W//2, C]` (an odd last row or column is dropped)."""
    return lax.reduce_window(x, 0.0, lax.add, (2, 2, 1), (2, 2, 1), "VALID") / 4


def gram(x: Array) -> Array:
    """Sum over positions of outer products of features, `[H, W, C]` -> `[C, C]` (not normalised)."""
    flat = x.reshape(-1, x.shape[-1])
    return flat.T @ flat
