"""Style as correlations between features (Gatys, Ecker & Bethge 2015, equations 3–5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxstyle import ops
from jaxstyle.backbones.vgg import STYLE_LAYERS
from jaxstyle.errors import JaxstyleError, one_of
from jaxstyle.losses.checks import blend_weights, same_length
from jaxstyle.losses.look import Look
from jaxstyle.ops.grams import Correlations
from jaxstyle.pytrees import pytree, static
from jaxstyle.references import References

NORMALIZATIONS = ("paper", "neural-style", "gatys-notebook", "relative")


def gram_matrix(features: Array | Correlations) -> Array:
    """Gram matrix per position, `[h, w, c]` -> `[c, c]`: G = Σ_p F_p F_pᵀ / (h·w)."""
    total = features.total if isinstance(features, Correlations) else ops.gram(features)
    return total / (features.shape[0] * features.shape[1])


def gram_loss(features: Array | Correlations, target: Array, normalization: str = "paper") -> Array:
    """Squared distance between the Gram matrix of `features` `[h, w, c]` and `target` `[c, c]`.

    With S = Σ (G/N − A/N′)², the difference of Gram matrices *per position* (N and N′ are the positions of
    the image and of the style, which may differ in size; the paper assumes N = N′):

    "paper": S / (4 c²), equation 4 of Gatys et al. 2015.
    "neural-style": S / c⁴, i.e. mean (G/(cN) − A/(cN))², Johnson's Torch program.
    "gatys-notebook": S / c², i.e. mean (G/N − A/N)², Gatys' PyTorch notebook (which adds layer weights
    1e3/c²) and Johnson et al. 2016, equation 4.
    "relative": S / Σ (A/N′)², independent of image size, of the scale and of the width of the network (ours).
    """
    channels = float(features.shape[-1])  # an integer's fourth power overflows int32 at 256 channels
    difference = jnp.square(gram_matrix(features) - target).sum()
    match normalization:
        case "paper":
            return difference / (4 * channels**2)
        case "neural-style":
            return difference / channels**4
        case "gatys-notebook":
            return difference / channels**2
        case _:
            relative: Array = difference / (jnp.square(target).sum() + jnp.finfo(target.dtype).tiny)
            return relative


@pytree
class Gram:
    """Gives the result the Gram matrices of the style images.

    Several styles are blended in the target: for coefficients b that sum to 1,
    Σ_k b_k |G − A_k|² and |G − Σ_k b_k A_k|² differ by a constant, so their gradients are equal.

    Attributes:
      weight: factor of the whole term; layer_weights: one factor per layer.
      blend: coefficients of the styles, scaled to sum to 1; empty means equal shares.
      layers: where Gram matrices are compared; normalization: see `gram_loss`.
    """

    weight: Any = 1.0
    layer_weights: tuple[Any, ...] = (0.2,) * 5
    blend: tuple[Any, ...] = ()
    layers: tuple[str, ...] = static(default=STYLE_LAYERS)
    normalization: str = static(default="paper")

    def __post_init__(self) -> None:
        one_of("Gram normalization", self.normalization, NORMALIZATIONS)
        same_length("Gram", self.layers, self.layer_weights)

    @property
    def grams(self) -> tuple[str, ...]:
        """Layers of which Gram matrices are enough."""
        return self.layers

    def target(self, references: References, look: Look) -> dict[str, Array]:
        """Blended Gram matrix of the styles at each layer."""
        if not references.styles:
            raise JaxstyleError("the Gram term needs at least one style image")
        if references.regions:
            raise JaxstyleError("the Gram term has no regions; use GuidedGram (transfer.controls.by_region)")
        shares = blend_weights(self.blend, len(references.styles))
        styles = [look(style, self.layers) for style in references.styles]
        return {
            layer: sum((share * gram_matrix(style[layer]) for share, style in zip(shares, styles)),
                       start=jnp.zeros(()))
            for layer in self.layers
        }

    def loss(self, image: Array, features: Mapping[str, Array | Correlations], target: dict[str, Array]
             ) -> Array:
        """Weighted sum of `gram_loss` over layers, without `weight`."""
        return sum(
            (weight * gram_loss(features[layer], target[layer], self.normalization)
             for layer, weight in zip(self.layers, self.layer_weights)),
            start=jnp.zeros((), image.dtype),
        )
