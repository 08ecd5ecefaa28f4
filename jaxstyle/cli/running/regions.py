"""`--region MASK=PAINTING`: which painting goes where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxstyle.errors import JaxstyleError

REST, PHOTO = "rest", "photo"


@dataclass(frozen=True)
class Region:
    """One region: its mask (None: the rest) and its painting (None: the photo is kept)."""

    mask: str | None
    painting: str | None


def parse_region(text: str) -> Region:
    """A region from `MASK.png=painting.jpg`, `rest=painting.jpg` or `rest=photo`.

    An equals sign in a file's name is no obstacle: what is split are two files that exist.

    Raises:
      JaxstyleError: not of that form, or a file is missing.
    """
    cuts = [i for i, letter in enumerate(text) if letter == "="]
    pairs = [(text[:i].strip(), text[i + 1 :].strip()) for i in cuts]
    good = [(mask, painting) for mask, painting in pairs if mask and painting]
    if not good:
        raise JaxstyleError(f"--region '{text}' is not of the form MASK.png=painting.jpg, "
                            "rest=painting.jpg or rest=photo")
    mask, painting = next(((m, p) for m, p in good if found(m, REST) and found(p, PHOTO)), good[0])
    for name, word in ((mask, REST), (painting, PHOTO)):
        if not found(name, word):
            raise JaxstyleError(f"{name}: no such file (in --region {text})")
    if painting == PHOTO and mask != REST:
        raise JaxstyleError(f"--region {text}: what no region covers keeps the photo anyway; leave this "
                            "out, or draw where to paint into --strength-mask")
    return Region(None if mask == REST else mask, None if painting == PHOTO else painting)


def found(name: str, word: str) -> bool:
    """Whether a name is the special word, or a file that exists."""
    return name == word or Path(name).is_file()


def parse_regions(texts: Sequence[str]) -> tuple[tuple[str, ...], tuple[str | None, ...]]:
    """Paintings, and the mask of each.

    Raises:
      JaxstyleError: see `parse_region`; the rest is given twice, or nothing is painted.
    """
    regions = [parse_region(text) for text in texts]
    if sum(region.mask is None for region in regions) > 1:
        raise JaxstyleError("--region rest=… is given twice; there is only one rest")
    painted = [region for region in regions if region.painting is not None]
    if regions and not painted:
        raise JaxstyleError("--region rest=photo alone paints nothing; give --region MASK=PAINTING too")
    return tuple(str(region.painting) for region in painted), tuple(region.mask for region in painted)
