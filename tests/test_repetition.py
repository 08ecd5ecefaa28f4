"""The number for repetition: against a loop, and for pictures whose repetition is known."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from tiny import tiny_recipe

from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import random_weights
from jaxstyle.losses import Patches
from jaxstyle.metrics.repetition import measured_repetition, patch_repetition
from jaxstyle.references import References
from jaxstyle.transfer.recipe import Stage


def as_a_loop(features, styles, size):
    """Every patch beside every patch, in double precision."""
    used, patches = set(), 0
    def cut(x):
        rows, columns = x.shape[0] - size + 1, x.shape[1] - size + 1
        return [x[i : i + size, j : j + size].ravel() for i in range(rows) for j in range(columns)]

    pool = [(number, k, patch / np.linalg.norm(patch)) for number, style in enumerate(styles)
            for k, patch in enumerate(cut(np.asarray(style, np.float64)))]
    for patch in cut(np.asarray(features, np.float64)):
        number, k, _ = max(pool, key=lambda each: patch @ each[2])
        used.add((number, k))
        patches += 1
    return 1 - len(used) / patches


@pytest.mark.parametrize("shapes", [((7, 9), (8, 6)), ((9, 8), (4, 5), (5, 4)), ((4, 4), (9, 9))])
@pytest.mark.parametrize("size", [1, 3])
def test_it_is_the_loop(shapes, size):
    rng = np.random.default_rng(0)
    features, *styles = [rng.normal(size=(*shape, 5)).astype("f") for shape in shapes]
    found = patch_repetition(jnp.asarray(features), [jnp.asarray(style) for style in styles], size)
    np.testing.assert_allclose(found, as_a_loop(features, styles, size), atol=1e-6)


def test_the_painting_itself_and_one_patch_everywhere():
    style = jnp.asarray(np.random.default_rng(1).normal(size=(10, 12, 6)).astype("f"))
    assert patch_repetition(style, [style]) == 0
    assert patch_repetition(style[2:9, 1:10], [style]) == 0
    flat = jnp.broadcast_to(style[4, 5], style.shape)
    assert patch_repetition(flat, [style]) > 0.97
    twice = jnp.concatenate([style[:6], style[:6]])
    assert 0.25 < patch_repetition(twice, [style]) < 0.75


def test_a_piece_of_the_painting_is_used_more_often_than_the_whole():
    style = jnp.asarray(np.random.default_rng(1).normal(size=(10, 12, 6)).astype("f"))
    assert patch_repetition(style, [style[:5, :6]]) >= 1 - 12 / 80  # it has 12 patches for 80


def test_runs_with_patches_have_it_and_others_do_not():
    rng = np.random.default_rng(2)
    images = [jnp.asarray(rng.random((32, 32, 3)).astype("f")) for _ in range(2)]
    references = References(content=images[0], styles=(images[1],))
    weights = random_weights(network=VGG(blocks=((4,), (6,)), border="reflect"))
    recipe = tiny_recipe(sizes=(32,))
    assert measured_repetition(weights, references, recipe, images[0]) is None
    patches = tiny_recipe(terms={"style": Patches(layers=("relu1_1", "relu2_1"))}, stages=(Stage(size=32),))
    assert measured_repetition(weights, references, patches, images[1]) == 0
    assert 0 < measured_repetition(weights, references, patches, images[0]) < 1
    elsewhere = tiny_recipe(terms={"style": Patches()}, stages=(Stage(size=32),))
    assert measured_repetition(weights, references, elsewhere, images[0]) is None
