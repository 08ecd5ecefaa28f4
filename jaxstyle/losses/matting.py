"""Photorealism: every small piece of the result is an affine function of the photo's colours there.

Luan, Paris, Shechtman & Bala 2017 (arXiv:1703.07511, equation 2), with the matting Laplacian of Levin,
Lischinski & Weiss 2006. No sparse matrix is needed: for one channel p of the result and the photo I

    pᵀ L p = Σ_windows min_{a, b} Σ_{i in window} (p_i − aᵀ I_i − b)² + ε |a|²,

the residual of a guided filter (He, Sun & Tang 2010).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxstyle.errors import JaxstyleError, one_of
from jaxstyle.losses.look import Features, Look
from jaxstyle.ops.local_affine import factorised, solved, window_element, window_mean
from jaxstyle.pytrees import pytree, static
from jaxstyle.references import References

NORMALIZATIONS = ("paper", "mean")


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def matting_energy(image: Array, guide: Array, factor: tuple[Array, ...], epsilon: Any = 1e-7, size: int = 3
                   ) -> Array:
    """Σ_c p_cᵀ L p_c over the channels p_c of an image `[H, W, C]`, L the matting Laplacian of a guide.

    The residual is summed up itself, not as a difference of sums of squares, so it keeps its digits in
    float32 and is never negative. The derivative is with respect to the image alone: 2 L p, where L p at a
    pixel is the sum of the residuals that it has in the windows over it.

    Args:
      guide: I, `[H, W, 3]`; factor: `factorised(guide, epsilon, size)`.
    """
    return _energy_and_product(image, guide, factor, epsilon, size)[0]


def _energy_and_product(image: Array, guide: Array, factor: tuple[Array, ...], epsilon: Any, size: int
                        ) -> tuple[Array, Array]:
    """pᵀ L p, and L p `[H, W, C]`."""
    means, guide_means = window_mean(image, size), window_mean(guide, size)

    def correlate(index: Array, sums: Array) -> Array:
        away = jnp.moveaxis(window_element(guide, index, size) - guide_means, -1, 0)[..., None]
        return sums + away * (window_element(image, index, size) - means)[None]

    right = lax.fori_loop(0, size**2, correlate, jnp.zeros((3, *means.shape), image.dtype))
    slopes = solved(tuple(part[..., None] for part in factor), (right[0], right[1], right[2]))

    def add(index: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
        energy, product = found
        away = window_element(guide, index, size) - guide_means
        fitted = sum((a * away[..., k : k + 1] for k, a in enumerate(slopes)), start=means)
        rest = window_element(image, index, size) - fitted
        at = (index // size, index % size, 0)
        here = lax.dynamic_slice(product, at, rest.shape)
        return energy + jnp.sum(jnp.square(rest)), lax.dynamic_update_slice(product, here + rest, at)

    ridge = epsilon * sum((jnp.sum(jnp.square(a)) for a in slopes), start=jnp.zeros((), image.dtype))
    start = ridge.astype(image.dtype), jnp.zeros_like(image)
    found: tuple[Array, Array] = lax.fori_loop(0, size**2, add, start)
    return found


def _forward(image: Array, guide: Array, factor: tuple[Array, ...], epsilon: Any, size: int
             ) -> tuple[Array, tuple[Any, ...]]:
    energy, product = _energy_and_product(image, guide, factor, epsilon, size)
    return energy, (product, guide, factor, epsilon)


def _backward(size: int, kept: tuple[Any, ...], change: Array) -> tuple[Any, ...]:
    product, *others = kept
    return 2 * change * product, *jax.tree.map(jnp.zeros_like, others)


matting_energy.defvjp(_forward, _backward)


@pytree
class Matting:
    """Keeps the result a photo: colours may change, structure may not.

    Attributes:
      weight: λ; the paper's is 1e4 with its sum over the image.
      epsilon: how little a window's model may lean on the photo's colours; larger is smoother.
      size: side of a window; normalization: "paper", the sum; "mean", divided by the number of the image's
        values times the squared size, independent of image size (ours).
    """

    weight: Any = 1e4
    epsilon: Any = 1e-7
    size: int = static(default=3)
    normalization: str = static(default="paper")
    layers: tuple[str, ...] = static(default=())

    def __post_init__(self) -> None:
        one_of("matting normalization", self.normalization, NORMALIZATIONS)
        if self.size < 2:
            raise JaxstyleError(f"a matting window has a size of at least 2, not {self.size}")

    def target(self, references: References, look: Look | None = None) -> dict[str, Any]:
        """The photo and the factors of its windows."""
        if references.content is None:
            raise JaxstyleError("the matting term needs a content image")
        guide = jnp.asarray(references.content)
        if min(guide.shape[:2]) < self.size:
            raise JaxstyleError(f"the image is too small for matting windows of {self.size}×{self.size}")
        return {"guide": guide, "factor": factorised(guide, self.epsilon, self.size)}

    def loss(self, image: Array, features: Features, target: dict[str, Any]) -> Array:
        """`matting_energy` of the image, normalised, without `weight`."""
        energy = matting_energy(image, target["guide"], target["factor"], self.epsilon, self.size)
        return energy if self.normalization == "paper" else energy / (image.size * self.size**2)
