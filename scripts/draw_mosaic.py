#!/usr/bin/env python3
"""Draws a stained-glass picture: cells around random points in bright colours, with dark leads between them.

Usage: draw_mosaic.py OUT.png [--size 512] [--seed 3]
"""

from __future__ import annotations

import argparse

import numpy as np
from PIL import Image

PALETTE = np.array([
    (196, 30, 42), (232, 92, 28), (246, 178, 36), (250, 226, 120), (22, 112, 84), (40, 160, 120),
    (18, 58, 140), (42, 120, 200), (126, 190, 222), (88, 34, 110), (236, 232, 214), (206, 60, 120)], float)
LEAD = np.array((18, 16, 24), float)


def points(size: int, rng: np.random.Generator) -> np.ndarray:
    """Centres of the cells `[n, 2]`: dense near some foci, sparse elsewhere."""
    foci = rng.uniform(0, size, (5, 2))
    near = np.concatenate([focus + rng.normal(0, size / 9, (70, 2)) for focus in foci])
    return np.concatenate([near, rng.uniform(0, size, (160, 2))])


def paint(size: int, seed: int) -> Image.Image:
    """Every pixel in the colour of its cell, darker towards the edge of the cell, with grain."""
    rng = np.random.default_rng(seed)
    scale = 2
    centres = points(size * scale, rng)
    field = centres[:, 0] / (size * scale) * 5 + 2 * np.sin(centres[:, 1] / (size * scale) * 7)
    index = (field + rng.normal(0, 1.6, len(centres))).round().astype(int) % len(PALETTE)
    colours = np.clip(PALETTE[index] + rng.normal(0, 14, (len(centres), 3)), 0, 255)
    y, x = np.mgrid[:size * scale, :size * scale].astype(np.float32)
    first = np.full(x.shape, np.inf, np.float32)
    second, owner = first.copy(), np.zeros(x.shape, int)
    for i, (cy, cx) in enumerate(centres):
        far = np.hypot(y - cy, x - cx)
        closer = far < first
        second = np.where(closer, first, np.minimum(second, far))
        owner, first = np.where(closer, i, owner), np.where(closer, far, first)
    edge = np.clip((second - first) / (3.5 * scale), 0, 1)[..., None]
    light = 1.12 - 0.3 * np.clip(first / (24 * scale), 0, 1)[..., None]
    grain = 1 + 0.05 * np.sin(x * 0.11 + owner)[..., None] * np.cos(y * 0.13 + 2 * owner)[..., None]
    glass = np.clip(colours[owner] * light * grain, 0, 255)
    picture = LEAD + (glass - LEAD) * edge**0.7
    return Image.fromarray(picture.astype(np.uint8)).resize((size, size), Image.Resampling.LANCZOS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args()
    paint(args.size, args.seed).save(args.out)


if __name__ == "__main__":
    main()
