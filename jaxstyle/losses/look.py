"""How a term sees images while it sets its targets."""

from __future__ import annotations

from typing import Any, Protocol

from jax import Array


class Look(Protocol):
    """The network as terms see it: features of any image, at least at the named layers."""

    def __call__(self, image: Array, layers: tuple[str, ...]) -> dict[str, Any]:
        """Features of an image `[H, W, 3]`: layer name -> `[h, w, c]` (or `ops.grams.Correlations` where Gram
        matrices are enough). The same array is looked at once, however often terms ask."""
