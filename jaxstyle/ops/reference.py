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

from jaxstyle.errors import JaxstyleError

# Patches of less than this norm count as having it.
NORM_FLOOR = 1e-8
PAD_MODES = {"zero": "constant", "reflect": "reflect", "replicate": "edge"}


PRECISIONS = ("float32", "tensorfloat32", "bfloat16")


def check_precision(precision: str) -> None:
    """Refuse a precision that `prepare` does not know.

    Raises:
      JaxstyleError: naming the choices.
    """
    if precision not in PRECISIONS:
        raise JaxstyleError(f"precision '{precision}' is unknown; use {', '.join(PRECISIONS)}")


def prepare(params: Any, precision: str = "float32") -> Any:
    """Beside every kernel an empty entry named like the precision of products, unless float32.

    Being empty it is part of the tree's structure, so it is static and takes no gradient.

    Raises:
      JaxstyleError: an unknown precision.
    """
    check_precision(precision)
    if not isinstance(params, Mapping):
        return params
    if getattr(params.get("kernel"), "ndim", 0) == 4:
        plain = {name: value for name, value in params.items() if name not in PRECISIONS}
        return plain if precision == "float32" else {**plain, precision: ()}
    return {name: prepare(child, precision) for name, child in params.items()}


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
    if pad and border != "zero":
        x, pad = jnp.pad(x, ((pad, pad), (pad, pad), (0, 0)), mode=PAD_MODES[border]), 0
    product = jnp.bfloat16 if "bfloat16" in params else x.dtype
    y = lax.conv_general_dilated(
        x[None].astype(product), kernel.astype(product), (stride, stride), ((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"), precision=lax.Precision.DEFAULT
        if "tensorfloat32" in params else lax.Precision.HIGHEST,
    )[0].astype(x.dtype) + params["bias"].astype(x.dtype)
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
    return jnp.matmul(flat.T, flat, precision=lax.Precision.HIGHEST)


def squared_gram_distance(x: Array, target: Array, scale: Any = 1.0) -> Array:
    """sum((scale·gram(x) − target)²), scalar, of features `[H, W, C]` and a matrix `[C, C]`."""
    return jnp.sum((gram(x) * scale - target) ** 2)


def upsample_conv(
    x: Array, params: Mapping[str, Any], *, border: str = "zero", relu: bool = False
) -> Array:
    """Nearest-neighbour enlargement to twice the size, then a 3×3 `conv` that keeps it.

    Returns:
      `[2H, 2W, O]` of `[H, W, I]`.
    """
    return conv(jnp.repeat(jnp.repeat(x, 2, axis=0), 2, axis=1), params, border=border, relu=relu)


def transposed_conv(x: Array, params: Mapping[str, Any], *, centred: bool = True) -> Array:
    """3×3 convolution of the image with zeros put between its pixels, to twice the size.

    Returns:
      `[2H, 2W, O]` of `[H, W, I]`.
    """
    pads = (1, 2) if centred else (2, 1)
    product = jnp.bfloat16 if "bfloat16" in params else x.dtype
    y = lax.conv_general_dilated(
        x[None].astype(product), params["kernel"].astype(product), (1, 1), (pads, pads), lhs_dilation=(2, 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"), precision=lax.Precision.DEFAULT
        if "tensorfloat32" in params else lax.Precision.HIGHEST,
    )[0].astype(x.dtype)
    return y + params["bias"].astype(x.dtype)


def patch_norms(x: Array, size: int) -> Array:
    """Norm of every size×size patch, `[H, W, C]` -> `[H − size + 1, W − size + 1]`."""
    energy = lax.reduce_window(jnp.sum(x * x, axis=-1), 0.0, lax.add, (size, size), (1, 1), "VALID")
    return jnp.sqrt(energy)


def patches(x: Array, size: int) -> Array:
    """All size×size patches, `[H, W, C]` -> `[H − size + 1, W − size + 1, size² · C]`."""
    rows, columns = x.shape[0] - size + 1, x.shape[1] - size + 1
    shifted = [x[i:i + rows, j:j + columns] for i in range(size) for j in range(size)]
    return jnp.concatenate(shifted, axis=-1)


def nearest_patches(
    x: Array, style: Array, size: int = 3, precision: str = "float32", normalised: bool = True
) -> tuple[Array, Array]:
    """For every patch of `x` the style patch of greatest normalised correlation.

    The match of Li & Wand 2016 (arXiv:1601.04589, eq. 3): argmaxⱼ ⟨p, qⱼ⟩ / |qⱼ|; dividing by |p|,
    too, would change no choice. No gradient flows through matching.

    Args:
      x: `[H, W, C]`, style: `[Hs, Ws, C]`, both at least size×size.
      precision: "bfloat16" lets the fast form take its products in bfloat16.
      normalised: False leaves out the division by |q|.

    Returns:
      Flat index (row · (Ws − size + 1) + column) `[H − size + 1, W − size + 1]`, int32, and the score
      ⟨p, q⟩ / |q|, of equal shape. Among equal scores the first column wins, then the first row.
    """
    del precision
    x, style = lax.stop_gradient((x, style))
    candidates = patches(style, size)
    scores = jnp.einsum("hwk,rck->hwcr", patches(x, size), candidates)
    if normalised:
        scores = scores / jnp.maximum(patch_norms(style, size), NORM_FLOOR).T
    flat = scores.reshape(*scores.shape[:2], -1)
    column, row = jnp.divmod(jnp.argmax(flat, axis=-1), candidates.shape[0])
    return (row * candidates.shape[1] + column).astype(jnp.int32), jnp.max(flat, axis=-1)
