"""Video: closeness to what earlier frames look like here (Ruder, Dosovitskiy & Brox 2016, equations 7–10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxstyle.errors import JaxstyleError
from jaxstyle.losses.look import Features, Look
from jaxstyle.pytrees import pytree, static
from jaxstyle.references import References


def temporal_loss(image: Array, warped: Array, weights: Array) -> Array:
    """Mean of c · (x − ω)² over all D = H·W·C numbers (equation 7).

    Args:
      image: x `[H, W, C]`; warped: ω, an earlier result moved onto this frame, of the same shape.
      weights: c `[H, W]` in [0, 1].
    """
    return jnp.mean(weights[..., None] * jnp.square(image - warped))


def long_term_weights(consistencies: Sequence[Array]) -> tuple[Array, ...]:
    """Each earlier frame counts where no closer one does: max(c − Σ closer c, 0) (equation 10).

    Args:
      consistencies: c `[H, W]` of the earlier frames, the closest first.
    """
    found, closer = [], jnp.zeros_like(consistencies[0])
    for consistency in consistencies:
        found.append(jnp.maximum(consistency - closer, 0))
        closer = closer + consistency
    return tuple(found)


@pytree
class Temporal:
    """Keeps what earlier frames showed, where the flow between them can be trusted.

    `References.earlier` holds those frames' results, warped onto this one, with their weights; without any
    the term is 0, as for a first frame.
    """

    weight: Any = 1.0
    layers: tuple[str, ...] = static(default=())

    def target(self, references: References, look: Look) -> tuple[Array, ...]:
        """The earlier frames, each `[H, W, 4]`: red, green, blue, weight."""
        for earlier in references.earlier:
            if earlier.shape[-1] != 4:
                raise JaxstyleError("an earlier frame is [H, W, 4] with its weights, not "
                                    f"{list(earlier.shape)}")
        return references.earlier

    def loss(self, image: Array, features: Features, target: tuple[Array, ...]) -> Array:
        """Sum of `temporal_loss` over the earlier frames, without `weight`."""
        return sum((temporal_loss(image, earlier[..., :3], earlier[..., 3]) for earlier in target),
                   start=jnp.zeros((), image.dtype))
