"""Style by region: guided Gram matrices (Gatys, Ecker, Bethge, Hertzmann & Shechtman 2017, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxstyle.backbones.vgg import STYLE_LAYERS
from jaxstyle.errors import JaxstyleError, one_of
from jaxstyle.losses.checks import same_length
from jaxstyle.losses.gram import NORMALIZATIONS, gram_loss, gram_matrix
from jaxstyle.losses.look import Features, Look
from jaxstyle.ops.masks import guide, layer_mask
from jaxstyle.pytrees import pytree, static
from jaxstyle.references import References

SHARES = ("area", "equal")


def guided_gram(features: Array, mask: Array) -> Array:
    """Gram matrix per position of features `[h, w, c]` in a soft mask `[h, w]`: of g·F with Σ g²/N = 1."""
    return gram_matrix(guide(mask)[..., None] * features)


def guided_loss(features: Array, masks: Sequence[Array], targets: Sequence[Array], normalization: str,
                shares: str = "area") -> Array:
    """Sum over regions of `gram_loss` between the guided Gram matrix of features `[h, w, c]` and a target.

    Args:
      masks: `[h, w]` each, targets: `[c, c]` each, of the regions in turn.
      shares: "equal": every region counts 1, as published; "area": as much as it covers of the image (mean
        g² before scaling), so that a style pulls as hard at each position of its region as it would at each
        position of the whole image (ours).
    """
    total = jnp.zeros((), features.dtype)
    for mask, target in zip(masks, targets):
        share = jnp.mean(jnp.square(mask)) if shares == "area" else 1.0
        loss = gram_loss(guide(mask)[..., None] * features, target, normalization)
        # An empty region (or one too small for this layer) has nothing to resemble.
        total = total + jnp.where(jnp.any(mask > 0), share * loss, 0)
    return total


@pytree
class GuidedGram:
    """Gives each region of the result the Gram matrices of its own style.

    The masks are `references.regions`, one for each style; `references.style_regions` say which part of each
    painting is meant, if any.

    Attributes:
      weight: factor of the whole term; layer_weights: one factor per layer.
      layers: where Gram matrices are compared; normalization: see `gram_loss`; shares: see `guided_loss`.
    """

    weight: Any = 1.0
    layer_weights: tuple[Any, ...] = (0.2,) * 5
    layers: tuple[str, ...] = static(default=STYLE_LAYERS)
    normalization: str = static(default="paper")
    shares: str = static(default="area")

    def __post_init__(self) -> None:
        one_of("guided Gram normalization", self.normalization, NORMALIZATIONS)
        one_of("guided Gram shares", self.shares, SHARES)
        same_length("guided Gram", self.layers, self.layer_weights)

    def target(self, references: References, look: Look) -> dict[str, Any]:
        """The masks, and at each layer the Gram matrix of each style."""
        if not references.styles:
            raise JaxstyleError("the guided Gram term needs at least one style image")
        if len(references.regions) != len(references.styles):
            raise JaxstyleError(f"{len(references.regions)} regions for {len(references.styles)} style "
                                "images; every style needs the region it is for")
        parts = references.style_regions or (None,) * len(references.styles)
        found: dict[str, list[Array]] = {layer: [] for layer in self.layers}
        for style, part in zip(references.styles, parts):
            seen = look(style, self.layers)
            for layer in self.layers:
                features = seen[layer]
                whole = part is None
                found[layer].append(gram_matrix(features) if whole
                                    else guided_gram(features, layer_mask(part, features)))
        return {"masks": tuple(references.regions), "grams": {k: tuple(v) for k, v in found.items()}}

    def loss(self, image: Array, features: Features, target: dict[str, Any]) -> Array:
        """Weighted sum over layers of `guided_loss`, without `weight`."""
        total = jnp.zeros((), image.dtype)
        for layer, weight in zip(self.layers, self.layer_weights):
            masks = [layer_mask(mask, features[layer]) for mask in target["masks"]]
            total = total + weight * guided_loss(features[layer], masks, target["grams"][layer],
                                                 self.normalization, self.shares)
        return total
