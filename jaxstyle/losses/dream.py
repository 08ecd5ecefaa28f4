"""Deep dream: the image shows more of what a layer sees in it (Mordvintsev, Olah & Tyka 2015)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxstyle.errors import JaxstyleError
from jaxstyle.losses.checks import same_length
from jaxstyle.losses.look import Features, Look
from jaxstyle.pytrees import pytree, static
from jaxstyle.references import References


def energy(features: Array) -> Array:
    """Mean square of features `[h, w, c]`."""
    return jnp.mean(jnp.square(features))


def excitement(features: Array, calm: Any, limit: Any = 100.0, clip: Any = 100.0) -> Array:
    """How much a layer is excited, negative so that a minimiser excites it: −L r / (L + r).

    r = mean h(F) / calm of features F `[h, w, c]`, h being the square up to `clip` times the root of calm and
    a straight line beyond it (fast-neural-style's slow mode clips its gradient so). For L and clip without
    bound it is Mordvintsev's objective, scaled by calm.

    Args:
      calm: mean square of the features of the photo: there r is 1, whatever the network.
      limit: L, the bound: the value lies in (−L, 0], so no image drives the loss to −∞.
    """
    root = jnp.sqrt(jnp.maximum(calm, jnp.finfo(features.dtype).tiny))
    size = jnp.abs(features) / root
    inner = jnp.minimum(size, clip)
    ratio = jnp.mean(jnp.square(inner) + 2 * clip * (size - inner))  # Huber: linear beyond the clip
    bounded: Array = -limit * ratio / (limit + ratio)
    return bounded


@pytree
class Dream:
    """Excites layers, alone or beside other terms.

    Attributes:
      weight: factor of the whole term; layer_weights: one factor per layer.
      limit, clip: bounds, see `excitement`.
      layers: what to excite; deeper layers make larger and more complicated things.
      jitter: pixels by which the image is rolled at random before every evaluation, at most, so that nothing
        settles on the grid of the network's strides (Mordvintsev's program: 32).
    """

    weight: Any = 1.0
    layer_weights: tuple[Any, ...] = (1.0,)
    limit: Any = 100.0
    clip: Any = 100.0
    layers: tuple[str, ...] = static(default=("relu4_2",))
    jitter: int = static(default=0)

    def __post_init__(self) -> None:
        same_length("dream", self.layers, self.layer_weights)
        if not isinstance(self.jitter, int) or self.jitter < 0:
            raise JaxstyleError(f"jitter is a whole number of pixels, at least 0, not {self.jitter}")

    def target(self, references: References, look: Look) -> dict[str, Any]:
        """Mean square of the photo's features at each layer, and where random numbers begin."""
        if references.content is None:
            raise JaxstyleError("the dream term needs a content image to begin from")
        found = look(references.content, self.layers)
        calm = {layer: lax.stop_gradient(energy(found[layer])) for layer in self.layers}
        seed = 0 if references.seed is None else references.seed
        return {"calm": calm, "seed": jnp.asarray(seed, jnp.int32)}

    def memory(self, target: dict[str, Any]) -> Array:
        """Data of the key of the first evaluation."""
        return jax.random.key_data(jax.random.key(target["seed"]))

    def view(self, image: Array, memory: Array) -> Array:
        """What of the image the network is shown: rolled by the next random offset."""
        if not self.jitter:
            return image
        offset = jax.random.randint(jax.random.wrap_key_data(memory), (2,), -self.jitter, self.jitter + 1)
        return jnp.roll(image, offset, axis=(0, 1))

    def loss(self, image: Array, features: Features, target: dict[str, Any], memory: Array
             ) -> tuple[Array, Array]:
        """Weighted sum over layers of `excitement`, without `weight`; and the next key's data."""
        total = jnp.zeros((), image.dtype)
        for layer, weight in zip(self.layers, self.layer_weights):
            total = total + weight * excitement(features[layer], target["calm"][layer], self.limit, self.clip)
        following = jax.random.fold_in(jax.random.wrap_key_data(memory), 1)
        return total, jax.random.key_data(following)
