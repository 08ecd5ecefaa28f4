"""Training images for `distill.py`: photos and paintings, varied, textured, noisy, and procedural ones.

Everything is a function of a NumPy generator, so that a run that was interrupted sees the same images
again. Batches are `[n, size, size, 3]` float32; values leave [0, 1] on purpose in noisy images, because
an image in the middle of an optimisation does so too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image

from jaxstyle.images.folder import pictures_in


def split(folders: list[Path], every: int, exclude: tuple[str, ...]) -> tuple[list[Path], list[Path]]:
    """Pictures to train on and pictures held out: every `every`-th of each folder with more than 100
    pictures, and all whose name contains one of `exclude`.

    Raises:
      JaxstyleError: a folder without pictures.
    """
    train, held = [], []
    for folder in folders:
        paths = pictures_in(folder)
        for index, path in enumerate(paths):
            left_out = len(paths) > 100 and every and index % every == 0
            (held if left_out or any(e in path.stem for e in exclude) else train).append(path)
    return train, held


def read(path: Path) -> np.ndarray:
    """`[h, w, 3]` uint8."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def crop(rng: Generator, picture: np.ndarray, size: int) -> np.ndarray:
    """Random square of a random extent, scaled to `size`, `[size, size, 3]` in [0, 1]."""
    height, width, _ = picture.shape
    side = int(min(height, width) * rng.uniform(0.25, 1.0)) if rng.random() < 0.5 else size
    side = min(max(side, size // 2), height, width)
    y, x = rng.integers(height - side + 1), rng.integers(width - side + 1)
    square = picture[y:y + side, x:x + side]
    if side != size:
        square = np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.LANCZOS))
    return square.astype(np.float32) / 255


def turn(rng: Generator, image: np.ndarray) -> np.ndarray:
    """Random mirror image; one in four turned by a multiple of 90°."""
    image = image[:, ::-1] if rng.random() < 0.5 else image
    return np.rot90(image, rng.integers(4)) if rng.random() < 0.25 else image


def recolour(rng: Generator, image: np.ndarray) -> np.ndarray:
    """Random contrast, brightness, gamma, saturation and sometimes permuted or inverted channels."""
    image = np.clip(image, 0, 1) ** np.exp(rng.normal(0, 0.2, 3 if rng.random() < 0.5 else 1))
    grey = image.mean(-1, keepdims=True)
    image = grey + (image - grey) * rng.uniform(0.2, 2.0)
    image = (image - 0.5) * rng.uniform(0.6, 1.5) + 0.5 + rng.normal(0, 0.08, 3)
    if rng.random() < 0.15:
        image = image[..., rng.permutation(3)]
    if rng.random() < 0.05:
        image = 1 - image
    return np.clip(image, 0, 1)


def coloured_noise(rng: Generator, size: int, exponent: float) -> np.ndarray:
    """Noise with amplitude spectrum 1/f^exponent (0: white), unit variance, correlated channels."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij"))
    frequency[0, 0] = 1 / size
    spectrum = np.fft.rfft2(rng.standard_normal((size, size, 3)), axes=(0, 1))
    noise = np.fft.irfft2(spectrum / frequency[..., None] ** exponent, (size, size), axes=(0, 1))
    noise = noise @ (np.eye(3) + rng.uniform(0, 1) * np.ones((3, 3)))
    return (noise - noise.mean()) / (noise.std() + 1e-6)


def procedural(rng: Generator, size: int) -> np.ndarray:
    """Gratings, checks, discs, ramps or 1/f noise in random colours, `[size, size, 3]`."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(2.5), np.log(size)))
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    phase = rng.uniform(0, 2 * np.pi)
    kind = rng.integers(6)
    if kind == 0:
        mask = 0.5 + 0.5 * np.sin(2 * np.pi * u / period + phase)
    elif kind == 1:
        mask = ((np.floor(u / period) + np.floor(v / period)) % 2).astype(np.float32)
    elif kind == 2:
        centre, radius = rng.uniform(0, size, (6, 2)), rng.uniform(2, size / 3, 6)
        mask = np.max([np.hypot(x - a, y - b) < r for (a, b), r in zip(centre, radius)], 0) * 1.0
    elif kind == 3:
        mask = (u - u.min()) / (np.ptp(u) + 1e-6)
    elif kind == 4:
        mask = 0.5 + 0.5 * np.sin(2 * np.pi * np.hypot(x - size / 2, y - size / 3) / period + phase)
    else:
        return np.clip(0.5 + 0.25 * coloured_noise(rng, size, rng.uniform(0.5, 2)), 0, 1)
    first, second = rng.uniform(0, 1, 3), rng.uniform(0, 1, 3)
    return first + (second - first) * mask[..., None]


def noisy(rng: Generator, image: np.ndarray) -> np.ndarray:
    """The image with noise as optimisation leaves it: white, coloured or sparse, 1 % to 40 % strong."""
    size = image.shape[0]
    strength = np.exp(rng.uniform(np.log(0.01), np.log(0.4)))
    kind = rng.integers(4)
    if kind == 0:
        noise = rng.standard_normal(image.shape)
    elif kind == 1:
        noise = coloured_noise(rng, size, rng.uniform(-0.7, 1.2))
    elif kind == 2:
        noise = rng.standard_normal(image.shape) * (rng.random((size, size, 1)) < rng.uniform(0.02, 0.3))
    else:
        coarse = rng.standard_normal((size // 2 + 1, size // 2 + 1, 3))
        noise = coarse.repeat(2, 0).repeat(2, 1)[:size, :size]
    if rng.random() < 0.3:
        image = image * (1 - strength) + 0.5 * strength
    return image + strength * noise


def clean_images(rng: Generator, pictures: list[np.ndarray], count: int, size: int) -> np.ndarray:
    """`count` varied images `[count, size, size, 3]`; one in eight procedural, one in six a mixture."""
    def one() -> np.ndarray:
        if not pictures or rng.random() < 0.125:
            return procedural(rng, size)
        image = turn(rng, crop(rng, pictures[rng.integers(len(pictures))], size))
        return recolour(rng, image) if rng.random() < 0.6 else image

    images = []
    for _ in range(count):
        image = one()
        if rng.random() < 1 / 6:
            other = one()
            if rng.random() < 0.5:
                image = image + (other - image) * rng.uniform(0.1, 0.6)
            else:
                image = np.where(procedural(rng, size)[..., :1] > 0.5, image, other)
        images.append(image)
    return np.stack(images).astype(np.float32)


def pairs(
    rng: Generator, pictures: list[np.ndarray], pool: np.ndarray, filled: int, count: int, size: int
) -> np.ndarray:
    """Images beside their noisy versions, `[count, 2, size, size, 3]`.

    A quarter of the first images come from `pool` `[capacity, size, size, 3]`, of which the first
    `filled` are images from unfinished optimisations.
    """
    clean = clean_images(rng, pictures, count, size)
    for index in range(count):
        if filled and rng.random() < 0.25:
            clean[index] = pool[rng.integers(filled)]
    other = np.stack([noisy(rng, image) for image in clean]).astype(np.float32)
    return np.stack([clean, other], 1)
