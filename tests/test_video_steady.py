"""What holds a fast network's frames still."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxstyle.video.steady import DETAIL, MOST_CONTRAST, steadied, with_contrast_of

RNG = np.random.default_rng(0)
STILL = np.zeros((24, 30, 2), np.float32)


def noise(height=24, width=30):
    return (0.5 + 0.1 * RNG.standard_normal((height, width, 3))).clip(0, 1).astype(np.float32)


def window(x, i, j, radius):
    padded = np.pad(x, ((radius, radius), (radius, radius), (0, 0)), mode="edge")
    return padded[i : i + 2 * radius + 1, j : j + 2 * radius + 1]


def contrast_by_loops(mixed, image):
    def detail(x):
        return np.array([[x[i, j] - window(x, i, j, DETAIL).mean((0, 1)) for j in range(x.shape[1])]
                         for i in range(x.shape[0])])

    mixed, image = mixed.astype(np.float64), image.astype(np.float64)
    mine, wanted, made = detail(mixed), detail(image), np.empty_like(mixed)
    for i in range(mixed.shape[0]):
        for j in range(mixed.shape[1]):
            squares = [np.square(window(x, i, j, 2 * DETAIL)).mean() for x in (wanted, mine)]
            gain = np.clip(np.sqrt(squares[0] / max(squares[1], 1e-8)), 1, MOST_CONTRAST)
            made[i, j] = mixed[i, j] + (gain - 1) * mine[i, j]
    return made.clip(0, 1)


def test_contrast_is_the_loop():
    one, two = noise(11, 13), noise(11, 13)
    mean = (one + two) / 2
    np.testing.assert_allclose(with_contrast_of(mean, one), contrast_by_loops(mean, one), atol=2e-6)


def test_a_mean_of_textures_gets_their_contrast_back_and_a_texture_keeps_its_own():
    one, two = noise(), noise()
    mean = (one + two) / 2
    assert mean.std() < 0.75 * one.std()
    assert with_contrast_of(mean, one).std() == pytest.approx(one.std(), rel=0.03)
    np.testing.assert_allclose(with_contrast_of(one, one), one, atol=1e-6)
    flat = np.full_like(one, 0.3)
    np.testing.assert_allclose(with_contrast_of(flat, one), flat, atol=1e-6)


def test_a_still_scene_flickers_less_and_keeps_its_contrast():
    frame = jnp.asarray(noise())
    result, differences = noise(), []
    for _ in range(6):
        made = noise()
        following = steadied(made, frame, frame, result, (STILL, STILL), 0.8)
        differences.append(np.abs(following - result)[4:-4, 4:-4].mean())
        result = following
    unsteadied = np.abs(noise() - noise()).mean()
    assert np.mean(differences) < 0.7 * unsteadied
    assert np.asarray(result)[4:-4, 4:-4].std() > 0.9 * made.std()


def test_strength_nothing_is_the_new_result_and_scenes_that_differ_are_left_alone():
    made, result = noise(), noise()
    dark, bright = (np.full((24, 30, 3), level, np.float32) for level in (0.1, 0.9))
    for before, strength in ((dark, 0.0), (bright, 0.8)):
        following = steadied(made, dark, before, result, (STILL, STILL), strength)
        np.testing.assert_allclose(following, made, atol=1e-5)
