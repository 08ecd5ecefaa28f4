"""Recipes as constants, their names, and what makes them mean the same at any size and on any network."""

from jaxstyle.transfer.presets.controls import DREAM, DREAM_STYLE, PHOTO
from jaxstyle.transfer.presets.literature import (
    CROWSON,
    DEEP_STYLE,
    GATYS_2015,
    GATYS_NOTEBOOK,
    GATYS_SCIPY,
    IMPROVED_ARTISTIC,
    NEAREST_NEIGHBOURS,
    NEURAL_STYLE,
    STROTSS,
)
from jaxstyle.transfer.presets.names import catalogue, named
from jaxstyle.transfer.presets.ours import DEFAULT, GRAM, QUICK
from jaxstyle.transfer.presets.patches import CNNMRF, DOODLE, NEURAL_DOODLE, PATCHES, SEMANTIC_REPORT
from jaxstyle.transfer.presets.stages import with_size, with_steps, with_strokes

__all__ = [
    "CNNMRF", "CROWSON", "DEEP_STYLE", "DEFAULT", "DOODLE", "DREAM", "DREAM_STYLE", "GATYS_2015",
    "GATYS_NOTEBOOK", "GATYS_SCIPY", "GRAM", "IMPROVED_ARTISTIC", "NEAREST_NEIGHBOURS", "NEURAL_DOODLE",
    "NEURAL_STYLE", "PATCHES", "PHOTO", "QUICK", "SEMANTIC_REPORT", "STROTSS", "catalogue", "named",
    "with_size", "with_steps", "with_strokes",
]
