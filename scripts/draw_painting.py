#!/usr/bin/env python3
"""Paints the demo's style picture: brush strokes along a swirling field, in the colours of a night sky.

Usage: draw_painting.py OUT.png [--size 512] [--seed 7]
"""

from __future__ import annotations

import argparse

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

NIGHT = ((16, 24, 66), (24, 52, 120), (44, 96, 168), (98, 158, 200), (172, 206, 206))
LIGHT = ((214, 140, 34), (242, 188, 52), (252, 226, 120), (252, 244, 206))


def swirls(size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Direction of the strokes and nearness of a light, each `[size, size]`."""
    y, x = np.mgrid[:size, :size] / size
    u, v = np.full_like(x, 0.25), 0.1 * np.sin(7 * x + 2 * y)
    glow = np.zeros_like(x)
    for _ in range(9):
        cx, cy, radius = rng.uniform(0.05, 0.95), rng.uniform(0.05, 0.95), rng.uniform(0.06, 0.16)
        dx, dy = x - cx, y - cy
        near = np.exp(-(dx**2 + dy**2) / (2 * radius**2))
        turn = rng.choice((-1, 1)) * near / radius
        u, v = u - turn * dy * 2, v + turn * dx * 2
        glow = np.maximum(glow, np.exp(-(dx**2 + dy**2) / (0.6 * radius**2)))
    return np.arctan2(v, u), glow


def paint(size: int, seed: int) -> Image.Image:
    """Layers of strokes, wide ones first, each a little off in colour and direction."""
    rng = np.random.default_rng(seed)
    scale = 2
    angle, glow = swirls(size, rng)
    picture = Image.new("RGB", (size * scale, size * scale), NIGHT[1])
    draw = ImageDraw.Draw(picture)
    for width, length, count in ((13, 46, 2600), (8, 34, 5200), (5, 24, 5200)):
        for _ in range(count):
            x, y = rng.uniform(0, size, 2)
            bright = glow[int(y), int(x)]
            palette = LIGHT if rng.random() < bright * 1.1 else NIGHT
            wave = 0.5 + np.sin(angle[int(y), int(x)] * 2)
            shade = bright * len(LIGHT) if palette is LIGHT else wave * 2.6
            colour = np.array(palette[int(np.clip(shade + rng.normal(0, 0.9), 0, len(palette) - 1))])
            colour = np.clip(colour + rng.normal(0, 9, 3), 0, 255).astype(int)
            points = [(x * scale, y * scale)]
            for _ in range(length // 4):
                a = angle[int(np.clip(y, 0, size - 1)), int(np.clip(x, 0, size - 1))]
                x, y = x + 2 * np.cos(a), y + 2 * np.sin(a)
                points.append((x * scale, y * scale))
            draw.line(points, fill=tuple(map(int, colour)), width=width, joint="curve")
            for shift, tint in ((-1, 0.8), (1, 1.15)):
                edge = [(px, py + shift * width / 3) for px, py in points]
                draw.line(edge, fill=tuple(int(min(255, c * tint)) for c in colour), width=max(1, width // 5))
    return picture.resize((size, size), Image.Resampling.LANCZOS).filter(ImageFilter.UnsharpMask(1, 60))


def lights(size: int, seed: int) -> np.ndarray:
    """Where the lights of the painting of that seed are, `[size, size]`."""
    return swirls(size, np.random.default_rng(seed))[1] > 0.3


def main() -> None:
    """Paint and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    paint(options.size, options.seed).save(options.out)


if __name__ == "__main__":
    main()
