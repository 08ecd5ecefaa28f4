"""The course papers' own systems: their formulas, written out as loops, and what their weights mean here."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import fast_to_compile

from jaxstyle import recipes
from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import random_weights
from jaxstyle.pytrees import replace
from jaxstyle.solvers import Adam, ScipyLbfgsb
from jaxstyle.transfer.inputs import sized
from jaxstyle.transfer.loop import stylize_iter
from jaxstyle.transfer.presets.translation import loss_scale, translated
from jaxstyle.transfer.recipe import Recipe, Stage
from jaxstyle.weights.scales import OXFORD, measured_scales, recorded_scales
from jaxstyle.weights.store import load_weights

H, W, C = 3, 5, 4


@pytest.fixture
def maps():
    """Features of a result, of a photo and of a painting, in double precision."""
    rng = np.random.default_rng(4)
    with jax.enable_x64(True):
        yield tuple(rng.normal(size=(H, W, C)) for _ in range(3))


def gram(features: np.ndarray) -> np.ndarray:
    """G_ij = Σ over positions of F_i F_j, as a loop."""
    found = np.zeros((C, C))
    for row in features:
        for position in row:
            found += np.outer(position, position)
    return found


def content_of(recipe: Recipe, features: np.ndarray, photo: np.ndarray) -> float:
    """The recipe's whole content loss if its layer had these features."""
    term = recipe.terms["content"]
    layer, = term.layers
    return float(term.weight * term.loss(jnp.zeros(()), {layer: jnp.asarray(features)},
                                         {layer: jnp.asarray(photo)}))


def style_of(recipe: Recipe, features: np.ndarray, painting: np.ndarray) -> float:
    """The recipe's whole style loss if all of its five layers had these features."""
    term = recipe.terms["style"]
    target = jnp.asarray(gram(painting) / (H * W))
    return float(term.weight * term.loss(jnp.zeros(()), dict.fromkeys(term.layers, jnp.asarray(features)),
                                         dict.fromkeys(term.layers, target)))


def test_deep_style(maps):
    """Σ(F − P)² without ½; five layers at .20 of Σ(G − A)²/(4N²M²); β is α · 1000."""
    result, photo, painting = maps
    squares = sum((a - b) ** 2 for a, b in zip(result.flat, photo.flat))
    np.testing.assert_allclose(content_of(recipes.DEEP_STYLE, result, photo), squares, rtol=1e-12)
    layer = np.square(gram(result) - gram(painting)).sum() / (4 * C**2 * (H * W) ** 2)
    np.testing.assert_allclose(style_of(recipes.DEEP_STYLE, result, painting), 1e3 * 5 * 0.2 * layer,
                               rtol=1e-12)


def test_improved_artistic(maps):
    """10 · Σ(a_C − a_G)²/(4HWC) + 40 · Σ(G_S − G_G)²/(4C²(HW)²)."""
    result, photo, painting = maps
    content = 10 / (4 * H * W * C) * sum((a - b) ** 2 for a, b in zip(photo.flat, result.flat))
    np.testing.assert_allclose(content_of(recipes.IMPROVED_ARTISTIC, result, photo), content, rtol=1e-12)
    style = 40 / (4 * C**2 * (H * W) ** 2) * np.square(gram(painting) - gram(result)).sum()
    np.testing.assert_allclose(style_of(recipes.IMPROVED_ARTISTIC, result, painting), style, rtol=1e-12)


def test_gatys_scipy(maps):
    """½Σ(F − P)², and nothing else about it differs from the paper's recipe but the solver."""
    result, photo, _ = maps
    half = 0.5 * sum((a - b) ** 2 for a, b in zip(result.flat, photo.flat))
    np.testing.assert_allclose(content_of(recipes.GATYS_SCIPY, result, photo), half, rtol=1e-12)
    assert replace(recipes.GATYS_2015, {"solver": recipes.GATYS_SCIPY.solver}) == recipes.GATYS_SCIPY
    assert isinstance(recipes.GATYS_SCIPY.solver, ScipyLbfgsb)


def test_adams_first_step_is_two_of_255(references):
    """Adam's first step is its learning rate wherever there is a gradient, whatever its size."""
    assert isinstance(recipes.IMPROVED_ARTISTIC.solver, Adam)
    network = random_weights(seed=1, network=VGG(blocks=((4, 4), (6, 6), (8, 8, 8, 8), (8, 8), (8,)),
                                                 border="reflect"))
    recipe = replace(recipes.IMPROVED_ARTISTIC, {"stages": (Stage(size=32, steps=1),), "made_for": None})
    with fast_to_compile():
        run = stylize_iter(network, references, recipe)
        first = np.array(next(run).search.iterate.x)
        *_, stepped = run
    photo = sized(references, recipe.stages[0], 1.0).content
    noise = first - 0.4 * np.asarray(photo) - 0.6 / 2  # 0.6 of grey, and of ±20 in 0 … 255
    np.testing.assert_allclose(np.abs(noise).max(), 0.6 * 20 / 255, rtol=0.01)
    moved = np.abs(np.asarray(stepped.search.iterate.x) - first)
    np.testing.assert_allclose(np.median(moved), 2 / 255, rtol=1e-3)


@pytest.mark.parametrize("name", ["deep-style", "improved-artistic", "gatys-scipy"])
def test_weights_keep_their_balance_on_the_network_that_comes_along(name):
    """α/β is that of the network the paper used: each layer's loss counts for as much on the bundled one."""
    recipe, weights = recipes.named(name), load_weights("vgg19-slim")
    assert recipe.made_for == OXFORD
    here, there = translated(recipe, weights), recorded_scales(OXFORD)
    scales = measured_scales(weights.with_network(pooling=recipe.pooling, border=recipe.border),
                             (*recipe.terms["style"].layers, *recipe.terms["content"].layers))
    for key, term in recipe.terms.items():
        for layer, before, after in zip(term.layers, term.layer_weights, here.terms[key].layer_weights):
            np.testing.assert_allclose(after * loss_scale(here.terms[key], scales[layer]),
                                       before * loss_scale(term, there[layer]), rtol=1e-6)
