"""Numbers about colours."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxstyle.metrics.palette import chroma_noise, palette_distance, relative_chroma_noise
from jaxstyle.ops.colors.palette import oklab


def test_oklab_has_ottossons_values(x64):
    # White, and the primaries as published with the definition.
    colours = jnp.array([[1.0, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])
    wanted = [[1, 0, 0], [0.627955, 0.224863, 0.125846], [0.866440, -0.233888, 0.179498],
              [0.452014, -0.032457, -0.311528], [0, 0, 0]]
    np.testing.assert_allclose(oklab(colours), wanted, atol=2e-5)


def test_palettes_do_not_know_where_colours_are(x64):
    rng = np.random.default_rng(0)
    image = rng.uniform(size=(12, 10, 3))
    shuffled = rng.permutation(image.reshape(-1, 3)).reshape(20, 6, 3)
    assert float(palette_distance(image, shuffled)) < 1e-12
    assert float(palette_distance(image, np.tile(image, (2, 2, 1)))) < 0.01


def test_palette_distance_of_two_greys_is_their_distance_projected(x64):
    dark, light = np.full((4, 4, 3), 0.3), np.full((5, 7, 3), 0.6)
    gap = np.asarray(oklab(jnp.asarray(light[0, 0])) - oklab(jnp.asarray(dark[0, 0])))
    # The mean of |cos| over the sphere is 1/2.
    np.testing.assert_allclose(palette_distance(dark, light), np.linalg.norm(gap) / 2, rtol=0.01)


def test_chroma_noise_is_a_loop_over_pixels(x64):
    image = np.random.default_rng(1).uniform(size=(5, 6, 3))
    lab = np.asarray(oklab(jnp.asarray(image)))[..., 1:]
    squares = []
    for i in range(5):
        for j in range(6):
            around = [lab[min(max(i + a, 0), 4), min(max(j + b, 0), 5)]
                      for a in (-1, 0, 1) for b in (-1, 0, 1)]
            squares.append((lab[i, j] - np.mean(around, axis=0)) ** 2)
    np.testing.assert_allclose(chroma_noise(image), np.sqrt(np.mean(squares)), rtol=1e-9)


def test_grey_noise_is_no_chroma_noise():
    grey = np.repeat(np.random.default_rng(2).uniform(size=(8, 8, 1)), 3, axis=-1).astype(np.float32)
    colour = np.random.default_rng(3).uniform(size=(8, 8, 3)).astype(np.float32)
    assert float(relative_chroma_noise(grey, colour)) < 0.01
    assert float(relative_chroma_noise(colour, colour)) == 1
