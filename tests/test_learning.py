"""Learned weights: the gradient through a run is the slope of its target, and descending it pays."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import fast_to_compile, tiny_recipe

from jaxstyle import JaxstyleError
from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import random_weights
from jaxstyle.losses import Content, Gram
from jaxstyle.references import References
from jaxstyle.sweeps.search.learning import learned_weights, searched_weights, unrolled_target, with_factors
from jaxstyle.transfer.recipe import Stage

NETWORK = VGG(blocks=((4,), (4,), (4,), (4, 4), (4,)), border="reflect")


@pytest.fixture(scope="module", autouse=True)
def quick():
    with fast_to_compile():
        yield


def case(dtype=jnp.float32):
    rng = np.random.default_rng(0)
    waves = np.sin(np.arange(32)[:, None, None] / (2 + np.arange(3))) / 2 + 0.5 + np.zeros((32, 32, 3))
    content, style = waves, np.clip(waves[:, ::-1] * 0.5 + rng.random((32, 32, 3)) / 2, 0, 1)
    references = References(content=jnp.asarray(content, dtype), styles=(jnp.asarray(style, dtype),))
    networks = tuple(jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype),
                                  random_weights(seed=seed, network=NETWORK)) for seed in (0, 1))
    terms = {"content": Content(layers=("relu2_1",), normalization="relative"),
             "style": Gram(weight=3.0, layers=("relu1_1", "relu3_1"), layer_weights=(1.0, 1.0),
                           normalization="relative")}
    return networks, references, tiny_recipe(terms=terms, stages=(Stage(size=32),))


def test_the_gradient_is_the_slope(x64):
    networks, references, recipe = case(jnp.float64)

    def target(logs):
        return unrolled_target(logs, networks, references, recipe, steps=3, rate=jnp.asarray(0.02))

    at, towards, small = jnp.array([0.2, -0.1]), jnp.array([0.6, 0.8]), 1e-4
    slope = (target(at + small * towards) - target(at - small * towards)) / (2 * small)
    assert abs(slope) > 1e-6
    np.testing.assert_allclose(jax.grad(target)(at) @ towards, slope, rtol=1e-3)


def test_both_ways_lower_the_target_and_say_by_how_much():
    given = case()
    learned = learned_weights(*given, rounds=6, steps=3)
    searched = searched_weights(*given, count=8, steps=3)
    np.testing.assert_allclose(learned.course[0], searched.course[0], rtol=1e-5)  # the recipe's own
    for found in (learned, searched):
        assert found.target == found.course.min() < found.course[0]
        assert (found.factors > 0).all() and not np.allclose(found.factors, 1)


def test_factors_multiply_layer_weights_and_nothing_else():
    recipe = case()[2]
    changed = with_factors(recipe, [2.0, 0.5])
    assert changed.terms["style"].layer_weights == (2.0, 0.5)
    assert with_factors(changed, [0.5, 2.0]) == recipe
    with pytest.raises(JaxstyleError, match="one Gram term; this one has 0"):
        with_factors(tiny_recipe(terms={"content": Content(layers=("relu2_1",))}), [1.0])
