"""Recipes side by side on pairs of pictures: a contact sheet to look at, and numbers.

    python scripts/compare.py PAIRS.toml -o DIR [--recipes gram,default,strotss] [--size 384] [--strengths
    0,0.5,1]

PAIRS.toml lists pairs, with paths from its own folder:

    [[pair]]
    photo = "photos/town.jpg"
    painting = "paintings/night.jpg"

DIR gets `PHOTO+PAINTING.RECIPE.png` of every result, `sheet.jpg` (a row per pair: photo, painting, each
recipe) and `numbers.md`. What is there already is kept, so that a run that was stopped goes on. Per recipe,
means over pairs: content and style distance as GoogLeNet sees them (`--judge FILE`, a ported GoogLeNet;
without it, that of the transfer's own network), palette distance (sliced Wasserstein in OKLab), one-pixel
chroma noise relative to the painting's own, seconds (first programs of a shape are compiled within them).
With `--strengths`, the first recipe
runs at each of them instead: content against style distance is its curve.
"""

from __future__ import annotations

import argparse
import json
import time
import tomllib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw

from jaxstyle import JaxstyleError, References, load, load_weights, recipes, save, stylize_iter
from jaxstyle.backbones.perceptual import Weights
from jaxstyle.metrics.distances import CONTENT_LAYERS, STYLE_LAYERS, distances
from jaxstyle.metrics.palette import palette_distance, relative_chroma_noise
from jaxstyle.metrics.strength import balanced
from jaxstyle.ops.resize import resize
from jaxstyle.report.sheet import font
from jaxstyle.transfer.platform import use_compilation_cache
from jaxstyle.transfer.recipe import Recipe

GOOGLENET = (("inception_3b/output", "inception_4c/output"),
             ("conv2/3x3", "inception_3a/output", "inception_3b/output", "inception_4a/output"))
GAP, HEAD = 8, 24


@dataclass(frozen=True)
class Pair:
    """A photo and a painting, at the size of the results."""

    name: str
    photo: np.ndarray
    painting: np.ndarray


def read_pairs(path: Path, size: int) -> Iterator[Pair]:
    """The pairs of a file.

    Raises:
      JaxstyleError: it lists none, or one without photo or painting.
    """
    pairs = tomllib.loads(path.read_text()).get("pair", [])
    if not pairs or any({"photo", "painting"} - set(pair) for pair in pairs):
        raise JaxstyleError(f"{path}: write [[pair]] with photo = … and painting = … for each pair")
    for pair in pairs:
        photo, painting = (path.parent / pair[key] for key in ("photo", "painting"))
        pictures = [np.asarray(resize(load(file), size)) for file in (photo, painting)]
        yield Pair(f"{photo.stem}+{painting.stem}", *pictures)


def result(weights: Weights, pair: Pair, label: str, recipe: Recipe, strength: float | None, folder: Path
           ) -> tuple[np.ndarray, float]:
    """The picture, made or found in the folder, and the seconds that it took."""
    file = folder / f"{pair.name}.{label}.png"
    note = file.with_suffix(".json")
    if not note.exists():
        references = References(content=pair.photo, styles=(pair.painting,))
        if strength is not None:
            recipe = balanced(weights, references, recipe, strength)
        begun = time.perf_counter()
        image = deque(stylize_iter(weights, references, recipe), maxlen=1)[0].image
        seconds = time.perf_counter() - begun
        save(file, image)
        note.write_text(json.dumps({"seconds": seconds}))
    return load(file), json.loads(note.read_text())["seconds"]


def judged(judge: Weights, pair: Pair, image: np.ndarray) -> dict[str, float]:
    """All numbers of a result."""
    foreign = set(GOOGLENET[0]) <= set(judge.network.layers)
    layers: tuple[tuple[str, ...], tuple[str, ...]] = GOOGLENET if foreign else (CONTENT_LAYERS, STYLE_LAYERS)
    references = References(content=jnp.asarray(pair.photo), styles=(jnp.asarray(pair.painting),))
    found = {name: float(value)
             for name, value in distances(judge, references, jnp.asarray(image), *layers).items()}
    return {**found, "palette": float(jax.jit(palette_distance)(image, pair.painting)),
            "chroma noise": float(relative_chroma_noise(image, pair.painting))}


def row_of(pictures: Sequence[np.ndarray], labels: Sequence[str]) -> Image.Image:
    """Pictures of one height side by side, each under its label."""
    height = max(picture.shape[0] for picture in pictures)
    width = sum(picture.shape[1] + GAP for picture in pictures)
    row = Image.new("RGB", (width, height + HEAD + GAP), "white")
    draw, left = ImageDraw.Draw(row), 0
    for picture, label in zip(pictures, labels):
        draw.text((left, 2), label, fill="black", font=font(15))
        row.paste(Image.fromarray(np.rint(picture * 255).clip(0, 255).astype(np.uint8)), (left, HEAD))
        left += picture.shape[1] + GAP
    return row


def stacked(rows: Sequence[Image.Image]) -> Image.Image:
    """Rows below each other."""
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


def table(numbers: dict[str, list[dict[str, float]]]) -> str:
    """Means over pairs as a Markdown table."""
    keys = list(next(iter(numbers.values()))[0])
    lines = ["| recipe | " + " | ".join(keys) + " |", "|---" * (len(keys) + 1) + "|"]
    for label, found in numbers.items():
        means = [f"{np.mean([one[key] for one in found]):.3g}" for key in keys]
        lines.append(f"| {label} | " + " | ".join(means) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--recipes", default="gram,default,strotss")
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--weights", default="vgg19-slim")
    parser.add_argument("--judge", help="weights that measure content and style, e.g. a ported GoogLeNet")
    parser.add_argument("--strengths", help="run the first recipe at each of these instead")
    given = parser.parse_args()
    use_compilation_cache()
    given.out.mkdir(parents=True, exist_ok=True)
    weights = load_weights(given.weights)
    judge = load_weights(given.judge) if given.judge else weights
    names = given.recipes.split(",")
    chosen: list[tuple[str, Recipe, float | None]]
    chosen = [(name, recipes.with_size(recipes.named(name), given.size), None) for name in names]
    if given.strengths:
        chosen = [(f"{names[0]} {text}", chosen[0][1], float(text)) for text in given.strengths.split(",")]
    rows = []
    numbers: dict[str, list[dict[str, float]]] = {label: [] for label, _, _ in chosen}
    for pair in read_pairs(given.pairs, given.size):
        pictures = []
        for label, recipe, strength in chosen:
            image, seconds = result(weights, pair, label, recipe, strength, given.out)
            pictures.append(image)
            numbers[label].append({**judged(judge, pair, image), "seconds": seconds})
            shown = {key: f"{value:.3g}" for key, value in numbers[label][-1].items()}
            print(pair.name, label, shown, flush=True)
        photo, painting = pair.name.split("+")
        rows.append(row_of([pair.photo, pair.painting, *pictures], [photo, painting, *numbers]))
    stacked(rows).save(given.out / "sheet.jpg", quality=92)
    (given.out / "numbers.md").write_text(table(numbers))
    print(table(numbers))


if __name__ == "__main__":
    main()
