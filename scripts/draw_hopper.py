"""Draws the semantic map of the demo's portrait, Grace Hopper: ground, clothes, face, hair with cap.

    python scripts/draw_hopper.py hopper.jpg hopper_sem.png

Copies the portrait (United States Navy, public domain; it comes with matplotlib) and draws its map in the
colours that neural doodle's map of van Gogh's self-portrait has.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import tyro
from matplotlib import cbook
from PIL import Image, ImageDraw
from tyro.conf import Positional

GROUND, CLOTHES, FACE, HAIR = (255, 0, 0), (0, 0, 255), (0, 255, 0), (255, 255, 0)
# Outlines in shares of width and height, from back to front.
OUTLINES = (
    (CLOTHES, ((0.02, 1), (0.05, 0.72), (0.1, 0.64), (0.33, 0.57), (0.4, 0.53), (0.63, 0.53), (0.93, 0.65),
               (0.99, 0.84), (1, 1))),
    (HAIR, ((0.29, 0.27), (0.31, 0.46), (0.37, 0.49), (0.66, 0.5), (0.7, 0.5), (0.74, 0.38), (0.72, 0.15),
            (0.66, 0.07), (0.52, 0.036), (0.39, 0.07), (0.31, 0.16))),
    (FACE, ((0.31, 0.3), (0.31, 0.39), (0.37, 0.47), (0.4, 0.53), (0.44, 0.6), (0.51, 0.64), (0.58, 0.6),
            (0.63, 0.53), (0.7, 0.43), (0.725, 0.32), (0.69, 0.26), (0.51, 0.22), (0.34, 0.25))),
)


def semantic_map(width: int, height: int) -> Image.Image:
    """The map at the size of the portrait."""
    image = Image.new("RGB", (width, height), GROUND)
    draw = ImageDraw.Draw(image)
    for colour, outline in OUTLINES:
        draw.polygon([(x * width, y * height) for x, y in outline], fill=colour)
    return image


def main(portrait: Positional[Path], drawn: Positional[Path]) -> None:
    """Writes the portrait and its map."""
    shutil.copy(str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)), portrait)
    with Image.open(portrait) as image:
        semantic_map(*image.size).save(drawn)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
