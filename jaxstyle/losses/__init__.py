"""What a result is measured by: pure functions, and one small frozen term for each."""

from jaxstyle.losses.content import Content, content_loss
from jaxstyle.losses.dream import Dream, excitement
from jaxstyle.losses.gram import Gram, gram_loss, gram_matrix
from jaxstyle.losses.guided import GuidedGram, guided_gram, guided_loss
from jaxstyle.losses.matting import Matting, matting_energy
from jaxstyle.losses.neighbours import Neighbours, Splitting, neighbour_loss, splitting_loss
from jaxstyle.losses.patches.energy import patch_loss
from jaxstyle.losses.patches.term import Patches
from jaxstyle.losses.regularizers import (
    Gamut,
    Palette,
    Pixel,
    Range,
    TotalVariation,
    gamut_penalty,
    range_penalty,
    total_variation,
)
from jaxstyle.losses.similarity import SelfSimilarity, similarity_loss
from jaxstyle.losses.temporal import Temporal, temporal_loss
from jaxstyle.losses.transport import RelaxedTransport, moment_distance, palette_distance, relaxed_transport

TERMS = (Content, Gram, GuidedGram, Patches, Neighbours, Splitting, RelaxedTransport, SelfSimilarity, Matting,
         Dream, TotalVariation, Pixel, Range, Gamut, Palette, Temporal)

__all__ = [
    "TERMS", "Content", "Dream", "Gamut", "Gram", "GuidedGram", "Matting", "Neighbours", "Palette", "Patches",
    "Pixel", "Range", "RelaxedTransport", "SelfSimilarity", "Splitting", "Temporal", "TotalVariation",
    "content_loss", "excitement", "gamut_penalty", "gram_loss", "gram_matrix", "guided_gram",
    "guided_loss", "matting_energy", "moment_distance", "neighbour_loss", "palette_distance", "patch_loss",
    "range_penalty", "relaxed_transport", "similarity_loss", "splitting_loss", "temporal_loss",
    "total_variation",
]
