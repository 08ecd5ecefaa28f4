"""Recipes by their names on the command line."""

from __future__ import annotations

from jaxstyle.errors import one_of
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
from jaxstyle.transfer.presets.ours import DEFAULT, GRAM, QUICK
from jaxstyle.transfer.presets.patches import CNNMRF, DOODLE, NEURAL_DOODLE, PATCHES, SEMANTIC_REPORT
from jaxstyle.transfer.recipe import Recipe


def catalogue() -> dict[str, tuple[Recipe, str]]:
    """Every recipe by its name on the command line, with one line on what it is."""
    return {
        "default": (DEFAULT, "ours: nearest neighbours in the painting, and its large texture; a minute"),
        "quick": (QUICK, "the default with fewer steps: a quarter of the time"),
        "gram": (GRAM, "ours: Gram matrices alone, coarse to fine"),
        "nearest-neighbours": (NEAREST_NEIGHBOURS, "Kolkin 2022: what stands where looks like its like"),
        "strotss": (STROTSS, "Kolkin 2019: relaxed optimal transport and self-similarity"),
        "gatys-2015": (GATYS_2015, "the paper: from noise, average pooling, one size"),
        "gatys-notebook": (GATYS_NOTEBOOK, "Gatys' PyTorch notebook: from the photo, max pooling"),
        "gatys-scipy": (GATYS_SCIPY, "the paper's losses with SciPy's L-BFGS-B, as a course paper runs them"),
        "deep-style": (DEEP_STYLE, "a course report's baseline: from noise, content without ½"),
        "improved-artistic": (IMPROVED_ARTISTIC, "a course report: Adam at 2.0, from the photo under noise"),
        "neural-style": (NEURAL_STYLE, "Johnson's Torch program: from mid-grey, 1000 steps"),
        "patches": (PATCHES, "ours: patches of the painting, steered by maps if there are any"),
        "doodle": (DOODLE, "ours: a painting laid out anew by a map, without a photo (`jaxstyle doodle`)"),
        "neural-doodle": (NEURAL_DOODLE, "Champandard's program: patches and maps, from noise"),
        "cnnmrf": (CNNMRF, "Li & Wand's program: patches of nine copies of the painting, from the photo"),
        "semantic-report": (SEMANTIC_REPORT, "the course report's semantic transfer: x ‖ γm, from noise"),
        "photo": (PHOTO, "ours, after Luan et al.: the painting's colours and light, and still a photo"),
        "dream": (DREAM, "deep dream: more of what the network sees in the photo; takes no painting"),
        "dream-style": (DREAM_STYLE, "deep dream and style together"),
        "crowson": (CROWSON, "many sizes with Adam, after style-transfer-pytorch"),
    }


def named(name: str) -> Recipe:
    """A recipe by name.

    Raises:
      JaxstyleError: there is none; the message lists the names.
    """
    known = catalogue()
    one_of("recipe", name, known)
    return known[name][0]
