#!/usr/bin/env python3
"""Draws the map of a coast in flat colours, for `jaxstyle doodle` after a painting of one.

    python scripts/draw_coast.py coast.png
    jaxstyle doodle coast.png monet.jpg monet_sem.png -o out.png

The colours are those of the map of Monet's cliffs in neural doodle's samples: sky white, rock red, water
blue, meadow and beach green.
"""

from __future__ import annotations

import sys

from PIL import Image, ImageDraw

SIZE = (768, 512)
SKY, ROCK, WATER, GREEN = (255, 255, 255), (255, 51, 31), (0, 0, 255), (0, 255, 0)
SHAPES = (
    (WATER, ((0, 350), (768, 350), (768, 512), (0, 512))),
    (ROCK, ((470, 392), (486, 250), (505, 172), (560, 128), (640, 118), (768, 96), (768, 430), (690, 420),
            (664, 330), (640, 262), (604, 232), (572, 250), (556, 318), (548, 394))),
    (GREEN, ((560, 128), (600, 96), (690, 84), (768, 66), (768, 98), (640, 120))),
    (ROCK, ((196, 386), (204, 300), (226, 214), (244, 168), (262, 218), (284, 300), (296, 386))),
    (ROCK, ((84, 378), (92, 330), (112, 300), (128, 332), (136, 378))),
    (GREEN, ((0, 470), (190, 452), (420, 470), (560, 512), (0, 512))),
)
"""Colour and outline of each thing, in pixels, the later ones in front."""


def paint() -> Image.Image:
    """The map."""
    image = Image.new("RGB", SIZE, SKY)
    draw = ImageDraw.Draw(image)
    for colour, outline in SHAPES:
        draw.polygon(outline, fill=colour)
    return image


if __name__ == "__main__":
    paint().save(sys.argv[1])
