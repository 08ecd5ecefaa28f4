"""How a term sees images: through a network, as features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from jax import Array

Features = Mapping[str, Array]
"""Layer name -> `[h, w, c]`. Where a term says that Gram matrices are enough (`grams`), it may find
`ops.grams.Correlations` instead."""


class Look(Protocol):
    """The network as terms see it: features of any image, at least at the named layers."""

    def __call__(self, image: Array, layers: tuple[str, ...]) -> dict[str, Any]:
        """Features of an image `[H, W, 3]`: layer name -> `[h, w, c]` (or `ops.grams.Correlations` where Gram
        matrices are enough). The same array is looked at once, however often terms ask."""
