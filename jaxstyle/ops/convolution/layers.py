"""Convolution with filters prepared once and derivatives that reuse them.

`correlate` is linear in the image and in the kernel, so its derivative with respect to the image is
again a correlation, with the flipped kernel (itself prepared); with respect to the kernel it is one
matrix product per tap. Both rules call `correlate` again, so that reverse-mode derivatives of any
order are right. Forward mode (`jvp`, `jacfwd`, `hessian`) is not defined for it and raises
TypeError; run with JAXSTYLE_OPS=reference for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxstyle.errors import JaxstyleError
from jaxstyle.ops.convolution import winograd
from jaxstyle.ops.reference import PAD_MODES, check_precision, out_size

# A kernel as computed with: None (the plain kernel), an array of the same shape, or Winograd's 16.
Form = Array | tuple[Array, ...] | None
# Fewer channels on the side with less, or on the other: the direct form is as fast, and smaller.
# XLA's convolution on a CPU computes in float32 in any case, so that Winograd pays sooner in bfloat16.
LEAST_CHANNELS, WINOGRAD_CHANNELS = 48, {"float32": 96, "tensorfloat32": 96, "bfloat16": 64}
# A wide kernel on so few channels (kernel width times channels) is computed on shifted copies.
SHIFTED_CHANNELS = 64


class Geometry(NamedTuple):
    """Static part of a correlation: input size, step, zeros between inputs, padding (may crop)."""

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: int = 1
    dilation: int = 1
    pads: winograd.Pads = ((0, 0), (0, 0))

    def output(self) -> tuple[int, ...]:
        """Height and width of the result."""
        return tuple((_dilated(n, self.dilation) + lo + hi - k) // self.stride + 1
                     for n, k, (lo, hi) in zip(self.size, self.kernel, self.pads))

    def adjoint(self) -> Geometry:
        """The correlation with the flipped kernel from gradients of the output to the input's."""
        pads = []
        for n, k, m, (lo, _) in zip(self.size, self.kernel, self.output(), self.pads):
            low = k - 1 - lo
            pads.append((low, _dilated(n, self.dilation) + k - 1 - _dilated(m, self.stride) - low))
        return Geometry(self.output(), self.kernel, self.dilation, self.stride, (pads[0], pads[1]))


def _dilated(size: int, step: int) -> int:
    return max(0, (size - 1) * step + 1)


def flip(kernel: Array) -> Array:
    """`[kh, kw, I, O]` turned by 180° with its channels exchanged, `[kh, kw, O, I]`."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


def _form(kernel: Array, precision: str) -> Form:
    kh, kw, *channels = kernel.shape
    if (kh, kw) != (3, 3) or min(channels) < LEAST_CHANNELS or max(channels) < WINOGRAD_CHANNELS[precision]:
        return kernel
    return winograd.transform_filters(kernel, jnp.bfloat16 if precision == "bfloat16" else None)


def forms(kernel: Array, precision: str) -> dict[str, Form]:
    """What `prepare` adds beside a kernel; nothing flows back through it (see `correlate`)."""
    traced = isinstance(kernel, jax.core.Tracer)
    # Numbers at hand are transformed by NumPy, in a tenth of the time that the programs take to compile.
    numbers: Any = lax.stop_gradient(kernel) if traced else np.asarray(kernel)
    forward = _form(numbers, precision)
    found = {"forward": None if forward is numbers else forward, "backward": _form(flip(numbers), precision)}
    return found if traced else jax.tree.map(partial(jax.device_put, may_alias=True), found)


def prepare(params: Any, precision: str = "float32") -> Any:
    """Convolution parameters in the form that `conv` computes fastest with; made once per run.

    Every {"kernel": `[kh, kw, I, O]`, "bias"} in a nested dict gets the transformed kernels beside
    its own; all else stays. Preparing again is harmless and may change the precision. To train
    weights, differentiate with respect to the raw ones and call this inside the function.

    Args:
      precision: "float32", "bfloat16" (products in bfloat16, sums in float32) or "tensorfloat32",
        which on a CPU is float32.

    Raises:
      JaxstyleError: an unknown precision.
    """
    check_precision(precision)
    if not isinstance(params, Mapping):
        return params
    if getattr(params.get("kernel"), "ndim", 0) == 4:
        return {**params, **forms(params["kernel"], precision)}
    return {name: prepare(child, precision) for name, child in params.items()}


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def correlate(geometry: Geometry, x: Array, kernel: Array, forward: Form, backward: Form) -> Array:
    """Correlation of one image, `[H, W, I]` with `[kh, kw, I, O]` -> `[H', W', O]`.

    Args:
      forward: the kernel's other form to compute with, if any; backward: that of its flipped one.
        They are the same numbers as `kernel`, to which alone the gradient goes.

    Raises:
      JaxstyleError: a gradient with respect to a prepared form is asked for.
    """
    del backward
    if isinstance(forward, tuple):
        return winograd.correlate(x, forward, geometry.pads)
    return _direct(x, kernel if forward is None else forward, geometry)


def _direct(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """`lax` convolution, with padding where XLA's CPU convolution is slow without it."""
    height, width = geometry.output()
    wide = geometry.kernel[1] * x.shape[2] <= SHIFTED_CHANNELS and geometry.kernel[1] > 3
    if wide and geometry.stride == geometry.dilation == 1:
        x = _columns(x, geometry.kernel[1], geometry.pads[1])
        kernel = kernel.reshape(kernel.shape[0], 1, -1, kernel.shape[3])
        geometry = Geometry(x.shape[:2], kernel.shape[:2], pads=(geometry.pads[0], (0, 0)))
    # VALID is up to 25 times slower on CPU than a padded result that is then cropped.
    pads = [(lo, hi + k - 1) if lo + hi < k - 1 else (lo, hi)
            for k, (lo, hi) in zip(geometry.kernel, geometry.pads)]
    y = lax.conv_general_dilated(
        x[None], kernel.astype(x.dtype), (geometry.stride,) * 2, pads,
        lhs_dilation=(geometry.dilation,) * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )[0]
    return y[:height, :width]


def _columns(x: Array, size: int, pads: tuple[int, int]) -> Array:
    """Neighbours in a row side by side as channels, `[H, W, C]` -> `[H, W', size · C]`."""
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (*pads, 0), (0, 0, 0)))
    width = x.shape[1] - size + 1
    return jnp.concatenate([x[:, j:j + width] for j in range(size)], axis=-1)


def _correlate_fwd(
    geometry: Geometry, x: Any, kernel: Any, forward: Any, backward: Any
) -> tuple[Array, tuple[Any, Any]]:
    """Keeps only what the asked-for gradients need: None elsewhere."""
    if any(leaf.perturbed for leaf in jax.tree.leaves((forward, backward))):
        raise JaxstyleError(
            "prepared weights cannot be differentiated; differentiate with respect to the raw "
            "weights and call prepare inside the function"
        )
    forward, backward = jax.tree.map(lambda leaf: leaf.value, (forward, backward))
    y = correlate(geometry, x.value, kernel.value, forward, backward)
    image_side = (kernel.value, forward, backward) if x.perturbed else None
    return y, (image_side, x.value if kernel.perturbed else None)


def _correlate_bwd(geometry: Geometry, residuals: tuple[Any, Any], g: Any) -> tuple[Any, ...]:
    image_side, x = residuals
    if isinstance(g, jax.custom_derivatives.SymbolicZero):
        return None, None, None, None
    dx = dkernel = None
    if image_side is not None:
        kernel, forward, backward = image_side
        dx = correlate(geometry.adjoint(), g, flip(kernel), backward, forward)
    if x is not None:
        dkernel = kernel_gradient(x, g, geometry)
    return dx, dkernel, None, None


correlate.defvjp(_correlate_fwd, _correlate_bwd, symbolic_zeros=True)


def kernel_gradient(x: Array, g: Array, geometry: Geometry) -> Array:
    """Gradient `[kh, kw, I, O]` of sum(g · correlate(x, kernel)): one matrix product per tap."""
    kh, kw = geometry.kernel
    if kw > 3 and geometry.stride == geometry.dilation == 1:
        # One product per row of taps: one per tap would be thin. The side with fewer channels is shifted.
        if x.shape[2] <= g.shape[2]:
            x = _columns(x, kw, geometry.pads[1])
            rows = Geometry(x.shape[:2], (kh, 1), pads=(geometry.pads[0], (0, 0)))
            return kernel_gradient(x, g, rows).reshape(kh, kw, -1, g.shape[2])
        shifted = _columns(g, kw, (kw - 1, kw - 1))
        rows = Geometry(x.shape[:2], (kh, 1), pads=geometry.pads)
        taps_reversed = kernel_gradient(x, shifted, rows).reshape(kh, -1, kw, g.shape[2])
        return jnp.transpose(taps_reversed[:, :, ::-1], (0, 2, 1, 3))
    (top, bottom), (left, right) = geometry.pads
    gap = geometry.dilation - 1
    padded = lax.pad(x, jnp.zeros((), x.dtype), ((top, bottom, gap), (left, right, gap), (0, 0, 0)))
    height, width = _dilated(g.shape[0], geometry.stride), _dilated(g.shape[1], geometry.stride)
    flat = g.reshape(-1, g.shape[-1])
    taps = [
        lax.dot_general(
            lax.slice(padded, (i, j, 0), (i + height, j + width, x.shape[2]),
                      (geometry.stride, geometry.stride, 1)).reshape(-1, x.shape[2]),
            flat, (((0,), (0,)), ((), ())), precision=lax.Precision.HIGHEST,
        ) for i in range(kh) for j in range(kw)
    ]
    return jnp.stack(taps).reshape(kh, kw, *taps[0].shape)


@jax.custom_vjp
def rectify(x: Array) -> Array:
    """max(x, 0), whose derivative (0 at 0) is read off the result, so that x need not be kept."""
    return jnp.maximum(x, 0)


def _rectify_fwd(x: Array) -> tuple[Array, Array]:
    y = rectify(x)
    return y, y


rectify.defvjp(_rectify_fwd, lambda y, g: (jnp.where(y > 0, g, jnp.zeros((), g.dtype)),))


def conv(
    x: Array, params: Mapping[str, Any], *, border: str = "zero", stride: int = 1,
    padding: int | None = None, relu: bool = False,
) -> Array:
    """Same as `reference.conv`, with raw or prepared parameters."""
    kernel = params["kernel"].astype(x.dtype)
    kh, kw, _, channels = kernel.shape
    pad = kh // 2 if padding is None else padding
    height, width = out_size(x.shape[0], kh, stride, pad), out_size(x.shape[1], kw, stride, pad)
    if 0 in (*x.shape, height, width):
        return jnp.zeros((height, width, channels), x.dtype)
    if pad and border != "zero":
        # Outside of `correlate`: the derivative of padding folds the gradient back onto the edge.
        x, pad = jnp.pad(x, ((pad, pad), (pad, pad), (0, 0)), mode=PAD_MODES[border]), 0
    geometry = Geometry(x.shape[:2], (kh, kw), stride, 1, ((pad, pad), (pad, pad)))
    if stride == 1 and "backward" in params:
        forward, backward = params["forward"], params["backward"]
    else:  # not prepared, or no Winograd form: the direct one, which also compiles fastest
        forward, backward = None, flip(lax.stop_gradient(kernel))
    y = correlate(geometry, x, kernel, forward, backward)
    y = y + params["bias"].astype(x.dtype)[None, None]
    return rectify(y) if relu else y


# For each phase of an output pixel the input pixels (rows) that the three taps (columns) fall on,
# counted from one before its own: phase 0 sees (−1, 0, 0), phase 1 sees (0, 0, 1).
PHASES = (((1, 0, 0), (0, 1, 1), (0, 0, 0)), ((0, 0, 0), (1, 1, 0), (0, 0, 1)))
# The same where zeros lie between the input pixels, so that some taps fall on none: with the kernel's
# centre on the input pixels, and with its first tap there (TensorFlow's SAME).
CENTRED_PHASES = (((0, 0, 0), (0, 1, 0), (0, 0, 0)), ((0, 0, 0), (1, 0, 0), (0, 0, 1)))
LEADING_PHASES = (((1, 0, 0), (0, 0, 1), (0, 0, 0)), ((0, 0, 0), (0, 1, 0), (0, 0, 0)))


def upsample_conv(
    x: Array, params: Mapping[str, Any], *, border: str = "zero", relu: bool = False
) -> Array:
    """Same as `reference.upsample_conv`, without making the enlarged image.

    Reflection about the edge of the enlarged image is replication of the input's.
    """
    border = "zero" if border == "zero" else "replicate"
    return _subpixel(x, params, PHASES, border, relu)


def transposed_conv(x: Array, params: Mapping[str, Any], *, centred: bool = True) -> Array:
    """Same as `reference.transposed_conv`, without products with zeros."""
    return _subpixel(x, params, CENTRED_PHASES if centred else LEADING_PHASES, "zero", False)


def _subpixel(x: Array, params: Mapping[str, Any], phases: Any, border: str, relu: bool) -> Array:
    """An enlarging 3×3 convolution as one of the input itself.

    Each of the 2×2 output pixels of an input pixel is a 3×3 correlation of the input: one convolution to
    4·O channels and a rearrangement.
    """
    kernel, bias = params["kernel"].astype(x.dtype), params["bias"].astype(x.dtype)
    taps = jnp.asarray(phases, x.dtype)
    folded = jnp.einsum("aik,bjl,klco->ijcabo", taps, taps, kernel,
                        precision=lax.Precision.HIGHEST)
    outputs = kernel.shape[3]
    wide = {"kernel": folded.reshape(3, 3, -1, 4 * outputs), "bias": jnp.tile(bias, 4)}
    if isinstance(form := params.get("forward"), tuple):
        wide = prepare(wide, "bfloat16" if form[0].dtype == jnp.bfloat16 else "float32")
    y = conv(x, wide, border=border, relu=relu)
    height, width = x.shape[:2]
    return y.reshape(height, width, 2, 2, outputs).transpose(0, 2, 1, 3, 4) \
        .reshape(2 * height, 2 * width, outputs)
