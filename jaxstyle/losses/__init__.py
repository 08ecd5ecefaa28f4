"""What a result is measured by: pure functions, and one small frozen term for each."""

from jaxstyle.losses.content import Content, content_loss
from jaxstyle.losses.gram import Gram, gram_loss, gram_matrix
from jaxstyle.losses.patch_energy import patch_loss
from jaxstyle.losses.patches import Patches
from jaxstyle.losses.regularizers import Pixel, Range, TotalVariation, range_penalty, total_variation
from jaxstyle.losses.temporal import Temporal, temporal_loss

TERMS = (Content, Gram, Patches, TotalVariation, Pixel, Range, Temporal)

__all__ = [
    "TERMS", "Content", "Gram", "Patches", "Pixel", "Range", "Temporal", "TotalVariation", "content_loss",
    "gram_loss", "gram_matrix", "patch_loss", "range_penalty", "temporal_loss", "total_variation",
]
