"""Semantic maps: pictures of flat colours that say what is where, one colour for one kind of thing.

A map may be RGB, RGBA, grey or with a palette, 8 or 16 bits. What counts is which parts of two maps have
the same colour, so a map is read as numbers, without its colour profile; a palette becomes one channel for
each of its colours, as long as all maps of a run have one.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxstyle.errors import JaxstyleError
from jaxstyle.images.decode import opened, read_samples

SUFFIX = "_sem"
LEAST_SHARE = 0.002  # a colour that covers less is the blur between two labels
ALIKE = 24 / 255  # colours that differ by no more in any channel are one label
FLAT_SHARE = 0.95  # of a map drawn with flat colours lies on them exactly; the rest is smoothed edges
MANY_COLOURS = 256
MOST_LABELS = 64


class SemanticMap(NamedTuple):
    """A map as its file has it: values `[H, W, M]` in [0, 1]; kind "grey", "RGB", "RGBA" or "palette"."""

    path: str
    values: np.ndarray
    kind: str


class Label(NamedTuple):
    """One kind of thing: its colour in a map and the share of the map that it covers."""

    colour: tuple[float, ...]
    share: float

    @property
    def name(self) -> str:
        """The colour as #rrggbb (#rrggbbaa with alpha, #gg of a grey map, numbers else)."""
        return "#" + "".join(f"{round(255 * value):02x}" for value in self.colour)


def sem_path(image: str | os.PathLike[str]) -> Path | None:
    """The map `<image>_sem.png` beside a picture, as users of neural doodle name it; None: there is none."""
    path = Path(image)
    beside = path.with_name(f"{path.stem}{SUFFIX}.png")
    return beside if beside.is_file() else None


def read_map(path: str | os.PathLike[str]) -> SemanticMap:
    """One map. An alpha channel that says nothing (opaque everywhere) is left out.

    Raises:
      JaxstyleError: not a picture (see `images.files.load`), one in CMYK, or one of numbers instead of
        colours.
    """
    with opened(path) as image:
        palette = image.mode == "P"
    samples = read_samples(path)
    if samples.colour.shape[-1] == 4:
        raise JaxstyleError(f"{path}: a map in CMYK has no definite colours; save it as RGB in PNG")
    if samples.colour.shape[-1] == 1 and 0 < samples.colour.max() < MOST_LABELS / 255:
        raise JaxstyleError(f"{path}: is nearly black, as if it held the numbers of labels; give every "
                            "label a colour that can be told from the others")
    clear = samples.alpha is not None and samples.alpha.min() < 1
    values = samples.colour.astype(np.float32)
    if clear and samples.alpha is not None:
        values = np.concatenate([values, samples.alpha[..., None]], axis=-1, dtype=np.float32)
    kind = "palette" if palette else {1: "grey", 2: "grey and alpha", 3: "RGB", 4: "RGBA"}[values.shape[-1]]
    return SemanticMap(str(path), values, kind)


def labels_of(values: np.ndarray) -> tuple[Label, ...]:
    """The labels of a map `[H, W, M]` by falling share; smoothed edges count as the label they are nearest
    to."""
    colours, counts = _colours(values)
    order = np.argsort(-counts, kind="stable")
    chosen: list[int] = []
    for number in order:
        if (counts[number] < LEAST_SHARE * counts.sum() and chosen) or len(chosen) == MOST_LABELS:
            break
        if all(np.abs(colours[number] - colours[other]).max() > ALIKE for other in chosen):
            chosen.append(number)
    nearest = np.argmin(_distances(colours, colours[chosen]), axis=1)
    shares = np.bincount(nearest, counts, len(chosen)) / counts.sum()
    found = (Label(tuple(map(float, colours[number])), float(share)) for number, share in zip(chosen, shares))
    return tuple(sorted(found, key=lambda label: -label.share))


def label_numbers(values: np.ndarray, labels: Sequence[Label]) -> np.ndarray:
    """Which of the labels each pixel of a map `[H, W, M]` is nearest to, `[H, W]`."""
    colours = np.array([label.colour for label in labels], np.float32)
    flat = _distances(values.reshape(-1, values.shape[-1]), colours)
    nearest: np.ndarray = np.argmin(flat, axis=1).reshape(values.shape[:2])
    return nearest


def _colours(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every colour of a map at 8 bits `[K, M]` in [0, 1], and how many pixels have it."""
    flat = np.rint(values.reshape(-1, values.shape[-1]) * 255).astype(np.uint32)
    codes = sum(flat[:, channel] << 8 * channel for channel in range(flat.shape[1]))
    codes, counts = np.unique(codes, return_counts=True)
    colours = np.stack([codes >> 8 * channel & 255 for channel in range(flat.shape[1])], axis=-1)
    return (colours / 255).astype(np.float32), counts


def _distances(colours: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared distances `[N, K]`."""
    lengths = np.square(colours).sum(1)[:, None] + np.square(centres).sum(1)[None]
    squares: np.ndarray = lengths - 2 * colours @ centres.T
    return squares


def lossy(values: np.ndarray) -> str | None:
    """Why a map does not look like one of flat colours; None: it does."""
    colours, counts = _colours(values)
    if len(counts) <= MANY_COLOURS:
        return None
    flat = counts[counts >= LEAST_SHARE * counts.sum()].sum() / counts.sum()
    if flat >= FLAT_SHARE:
        return None
    return f"looks like a photo or a lossy file: {len(colours):,} colours, only {flat:.0%} of it flat"


def palette_text(semantic: SemanticMap) -> str:
    """The labels of a map with their coverage, on one line."""
    labels = labels_of(semantic.values)
    listed = ", ".join(f"{label.name} {label.share:.0%}" for label in labels[:8])
    more = f" and {len(labels) - 8} more" if len(labels) > 8 else ""
    return f"{semantic.path} ({semantic.kind}: {listed}{more})"


def matching(label: Label, labels: Sequence[Label]) -> bool:
    """Whether a label of another map is there, too."""
    return any(np.abs(np.subtract(label.colour, other.colour)).max() <= 2 * ALIKE for other in labels)


def joined(maps: Sequence[SemanticMap]) -> list[np.ndarray]:
    """The values of the map of the result and of those of the styles, `[H, W, M]` with the same channels.

    Says (as a warning) which labels of the result have no partner, and which maps do not look like maps.

    Raises:
      JaxstyleError: numbers of channels differ; no label occurs in the styles, too; or there is one label
        only.
    """
    first, *styles = maps
    for semantic in maps:
        if why := lossy(semantic.values):
            warnings.warn(f"{semantic.path}: {why}; draw maps in flat colours and save them as PNG",
                          stacklevel=2)
    depths = {semantic.values.shape[-1] for semantic in maps}
    if len(depths) > 1:
        raise JaxstyleError("the maps differ in their number of channels: "
                            + "; ".join(f"{m.values.shape[-1]} in {palette_text(m)}" for m in maps)
                            + "; save all of them as RGB")
    wanted, there = labels_of(first.values), [label for m in styles for label in labels_of(m.values)]
    if len({label.name for label in (*wanted, *there)}) == 1:
        raise JaxstyleError(f"all maps are {wanted[0].name} everywhere, which steers nothing; leave the "
                            "maps out")
    missing = [label for label in wanted if not matching(label, there)]
    if not any(lossy(m.values) for m in maps):
        if len(missing) == len(wanted):
            raise JaxstyleError("the maps have no label in common: " + "; ".join(map(palette_text, maps))
                                + "; use the same colour for the same kind of thing")
        if missing:
            listed = ", ".join(f"{label.name} ({label.share:.0%})" for label in missing)
            warnings.warn(f"{first.path}: {listed} has no partner in the maps of the styles; such parts are "
                          "matched by looks, or take what is nearest", stacklevel=2)
    if all(m.kind == "palette" for m in maps):
        return one_hot([m.values for m in maps])
    return [m.values for m in maps]


def one_hot(maps: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Maps `[H, W, M]` with a channel for each colour that occurs in any of them, instead of its numbers."""
    labels: list[Label] = []
    for values in maps:
        labels += [label for label in labels_of(values)
                   if not any(label.colour == other.colour for other in labels)]
    return [np.eye(len(labels), dtype=np.float32)[label_numbers(values, labels)] for values in maps]


def check_size(semantic: SemanticMap, image: np.ndarray, path: str | os.PathLike[str]) -> None:
    """Warn that a map will be resized because its image has another size."""
    height, width = image.shape[:2]
    rows, columns = semantic.values.shape[:2]
    if (rows, columns) == (height, width):
        return
    stretched = abs(np.log(rows * width / (columns * height))) > 0.02
    how = "stretched to another aspect" if stretched else "resized"
    warnings.warn(f"{semantic.path}: has {columns}×{rows} pixels and {path} {width}×{height}; the map is "
                  f"{how} to fit", stacklevel=2)


def read_maps(content_map: str, style_maps: Sequence[str], images: Sequence[tuple[str, np.ndarray] | None]
              ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The map of the result and those of the styles, ready for `References`.

    Args:
      images: path and pixels of the content image and of each style, to compare sizes with; None: no image.

    Raises:
      JaxstyleError: a file is no picture, numbers of maps and styles differ, or maps do not go together
        (`joined`).
    """
    if len(style_maps) != len(images) - 1:
        raise JaxstyleError(f"{len(style_maps)} style maps for {len(images) - 1} style images; with a "
                            "content map every style needs one")
    maps = [read_map(path) for path in (content_map, *style_maps)]
    for semantic, image in zip(maps, images):
        if image is not None:
            check_size(semantic, image[1], image[0])
    first, *others = joined(maps)
    return first, tuple(others)
