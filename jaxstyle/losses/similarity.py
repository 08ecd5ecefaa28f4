"""Content as self-similarity: what resembles what within the photo (Kolkin et al. 2019, STROTSS,
arXiv:1904.12785)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxstyle.errors import JaxstyleError
from jaxstyle.losses.checks import first_key, same_length
from jaxstyle.losses.look import Features, Look
from jaxstyle.losses.transport import LAYERS, cosine_distances, positions, sampled_columns, scales_of
from jaxstyle.pytrees import pytree, static
from jaxstyle.references import References


def similarity_loss(x: Array, target: Array) -> Array:
    """Difference of the self-similarity of two sets of features `[n, D]` of the same places (Kolkin et al.
    2019, equation 2): (1/n) Σ_ij |D_ij / Σ_i D_ij − D′_ij / Σ_i D′_ij|, D their cosine distances."""
    def normalised(features: Array) -> Array:
        distances = cosine_distances(features, features)
        return distances / jnp.maximum(distances.sum(axis=0, keepdims=True), 1e-6)

    return jnp.abs(normalised(x) - normalised(target)).sum() / x.shape[0]


@pytree
class SelfSimilarity:
    """Keeps the pattern of likenesses between places of the content image, whatever its colours and textures.

    Every evaluation draws other positions, from the recipe's seed; see `RelaxedTransport`.

    Attributes:
      weight: factor of the whole term; layer_weights: one factor per layer, beside `scales_of`.
      full_at: longer side in pixels at which the weight counts fully; else it counts full_at / side, so that
        it halves where the size doubles (as STROTSS does from scale to scale). 0: it counts fully at any
        size.
      layers: of which hypercolumns are made; samples: positions per evaluation.
    """

    weight: Any = 1.0
    layer_weights: tuple[Any, ...] = (1.0,) * len(LAYERS)
    full_at: Any = 0.0
    layers: tuple[str, ...] = static(default=LAYERS)
    samples: int = static(default=1024)

    def __post_init__(self) -> None:
        same_length("self-similarity", self.layers, self.layer_weights)
        if self.samples < 2:
            raise JaxstyleError(f"self-similarity samples is {self.samples}; compare at least 2 positions")

    def target(self, references: References, look: Look) -> dict[str, Any]:
        """The content image and its features, the scales of the layers and the first PRNG key."""
        if references.content is None:
            raise JaxstyleError("the self-similarity term needs a content image")
        found = look(references.content, self.layers)
        return {"image": references.content, "features": {layer: found[layer] for layer in self.layers},
                "scales": scales_of([found], self.layers, self.layer_weights),
                "key": jax.random.key_data(jax.random.fold_in(first_key(references), 1))}

    def memory(self, target: dict[str, Any]) -> Array:
        """The first PRNG key, as numbers."""
        key: Array = target["key"]
        return key

    def loss(self, image: Array, features: Features, target: dict[str, Any], memory: Array
             ) -> tuple[Array, Array]:
        """`similarity_loss` times what `full_at` says, without `weight`, and the next key."""
        key, following = jax.random.split(jax.random.wrap_key_data(memory))
        places = positions(key, image.shape[:2], self.samples)
        x = sampled_columns(image, features, target["scales"], places)
        y = sampled_columns(target["image"], target["features"], target["scales"], places)
        size = jnp.asarray(self.full_at, image.dtype) / max(image.shape[:2])
        return jnp.where(size > 0, size, 1) * similarity_loss(x, y), jax.random.key_data(following)
