"""Content: distance between feature maps (Gatys, Ecker & Bethge 2015, equation 1)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxstyle.backbones.vgg import CONTENT_LAYER
from jaxstyle.errors import JaxstyleError, one_of
from jaxstyle.losses.checks import blend_weights, same_length
from jaxstyle.losses.look import Features, Look
from jaxstyle.ops.colors.palette import matched_colours
from jaxstyle.ops.colors.spaces import LUMA
from jaxstyle.ops.masks import feathered, layer_mask
from jaxstyle.pytrees import pytree, static
from jaxstyle.references import References

MASK = "mask"
"""What the mask is called among the layers of a target."""
NORMALIZATIONS = ("mean", "paper", "relative")
SURROUNDINGS = 30


def content_loss(features: Array, target: Array, normalization: str = "mean", mask: Array | None = None
                 ) -> Array:
    """Squared distance between two feature maps `[h, w, c]`.

    "mean": mean (F − P)², independent of image size (Torch neural-style, Gatys' notebook).
    "paper": ½ Σ (F − P)² (Gatys et al. 2015, equation 1).
    "relative": Σ (F − P)² / Σ P², independent of image size and of the scale of the network (ours).

    Args:
      mask: `[h, w]`, how much each position counts (the divisors are those without it).
    """
    squares = jnp.square(features - target)
    if mask is not None:
        squares = mask[..., None] * squares
    if normalization == "relative":
        relative: Array = squares.sum() / (jnp.square(target).sum() + jnp.finfo(target.dtype).tiny)
        return relative
    return squares.mean() if normalization == "mean" else squares.sum() / 2


def structure(photo: Array) -> Array:
    """How much there is to see at each place of a photo `[H, W, 3]`: `[H, W]`, from 0 (flat) to 1 (as much as
    on average, or more).

    Length of the gradient of luma, averaged around each place (a Gaussian of 1/`SURROUNDINGS` of the longer
    side), over its mean.
    """
    luma = photo @ jnp.asarray(LUMA, photo.dtype)
    right = jnp.diff(luma, axis=1, append=luma[:, -1:])
    down = jnp.diff(luma, axis=0, append=luma[-1:])
    around = feathered(jnp.hypot(right, down), max(luma.shape) / SURROUNDINGS)
    return jnp.clip(around / jnp.maximum(around.mean(), jnp.finfo(luma.dtype).tiny), 0, 1)


@pytree
class Content:
    """Keeps the features of the content image; `references.content_mask` says where how much.

    Attributes:
      weight: factor of the whole term; layer_weights: one factor per layer.
      layers: where features are compared; normalization: see `content_loss`.
      palette: how far the content image is moved to the colours of the styles first, 0 to 1 (see
        `ops.colors.palette.matched_colours`), so that what is kept does not pull back to the photo's colours
        (ours); None: it is taken as it is.
      structure: how much less flat parts of the photo count (see `structure`), 0 to 1, so that a sky is free
        for the painting's hand where a face is not (ours); None: every place counts alike.
    """

    weight: Any = 1.0
    layer_weights: tuple[Any, ...] = (1.0,)
    palette: Any = None
    structure: Any = None
    layers: tuple[str, ...] = static(default=(CONTENT_LAYER,))
    normalization: str = static(default="mean")

    def __post_init__(self) -> None:
        one_of("content normalization", self.normalization, NORMALIZATIONS)
        same_length("content", self.layers, self.layer_weights)

    def target(self, references: References, look: Look) -> dict[str, Array]:
        """Features of the content image at each layer."""
        if references.content is None:
            raise JaxstyleError("the content term needs a content image")
        photo = references.content
        if self.palette is not None and references.styles:
            shares = blend_weights((), len(references.styles))
            photo = photo + self.palette * (matched_colours(photo, references.styles, shares) - photo)
        found = look(photo, self.layers)
        target = {layer: found[layer] for layer in self.layers}
        mask = references.content_mask
        if self.structure is not None:
            kept = 1 - self.structure * (1 - structure(references.content))
            mask = kept if mask is None else kept * mask
        return target if mask is None else {**target, MASK: mask}

    def loss(self, image: Array, features: Features, target: dict[str, Array]) -> Array:
        """Weighted sum of `content_loss` over layers, without `weight`."""
        total = jnp.zeros((), image.dtype)
        for layer, weight in zip(self.layers, self.layer_weights):
            mask = layer_mask(target[MASK], features[layer]) if MASK in target else None
            loss = content_loss(features[layer], target[layer], self.normalization, mask)
            total = total + weight * loss
        return total
