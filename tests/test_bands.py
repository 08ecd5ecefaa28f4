"""Features in bands of rows equal those of the whole image, values and gradients, in double precision."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import to64
from tiny import fast_to_compile

from jaxstyle.backbones import VGG, AlexNet
from jaxstyle.backbones.bands import banded_features, bands_of, sight
from jaxstyle.backbones.perceptual import random_weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.losses import Content, Gram, gram_matrix
from jaxstyle.losses.gram import Correlations
from jaxstyle.pytrees import replace
from jaxstyle.references import References
from jaxstyle.transfer.loop import stylize
from jaxstyle.transfer.objective import objective, targets

VGG19_NARROW = ((4, 4), (4, 4), (6,) * 4, (6,) * 4, (6,) * 4)
LAYERS = ("relu1_1", "conv2_1", "pool2", "relu3_1", "relu4_2", "relu5_1")
SMALL = ((3,), (4, 4), (3,))
SMALL_LAYERS = ("relu1_1", "relu2_2", "pool2", "relu3_1")


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    with fast_to_compile():
        yield


def make(blocks=SMALL, **attributes):
    weights = random_weights(seed=3, network=VGG(blocks=blocks, **attributes))
    return to64(weights) if jax.config.read("jax_enable_x64") else weights


def picture(height, width, seed=0):
    return jnp.asarray(np.random.default_rng(seed).random((height, width, 3)))


def both(weights, image, layers, rows, grams=()):
    """A function of features and its gradient, from bands and from the whole image."""
    plain = jax.eval_shape(lambda w, x: w.features(x, layers), weights, image)
    factors = {name: np.random.default_rng(i).standard_normal(plain[name].shape)
               for i, name in enumerate(layers)}

    def value(image, rows):
        found = banded_features(weights, image, layers, rows, grams)
        total = 0.0
        for name, feature in found.items():
            total += 1e3 * jnp.sum(jnp.sin(gram_matrix(feature)))
            if not isinstance(feature, Correlations):
                total += jnp.sum(factors[name] * jnp.square(feature))
        for name in grams:  # the same sum for the whole image, where these are features
            if not isinstance(found[name], Correlations):
                total -= jnp.sum(factors[name] * jnp.square(found[name]))
        return total, {name: gram_matrix(feature) for name, feature in found.items()}

    run = jax.jit(jax.value_and_grad(value, has_aux=True), static_argnums=1)
    return run(image, rows), run(image, None)


def assert_same(found, desired):
    for actual, wanted in zip(jax.tree.leaves(found), jax.tree.leaves(desired), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-10, atol=1e-10 * np.abs(wanted).max())


@pytest.mark.parametrize("border", ["zero", "reflect", "replicate"])
@pytest.mark.parametrize("pooling", ["max", "average"])
def test_values_and_gradients_are_those_of_the_whole_image(x64, border, pooling):
    weights = make(border=border, pooling=pooling)
    image = picture(61, 9)
    cut = bands_of(weights, image, SMALL_LAYERS, 10)
    assert (cut.rows, cut.window % 4, cut.bands) == (12, 61 % 4, 6)
    assert cut.window < 61
    features = jax.jit(lambda x: banded_features(weights, x, SMALL_LAYERS, 10))(image)
    assert_same(features, weights.features(image, SMALL_LAYERS))
    assert_same(*both(weights, image, SMALL_LAYERS, 10))


@pytest.mark.parametrize(("height", "rows"), [(56, 4), (57, 8), (58, 17), (59, 20), (63, 12), (64, 4)])
def test_every_remainder_of_the_height(x64, height, rows):
    assert_same(*both(make(), picture(height, 6), SMALL_LAYERS, rows, grams=("relu1_1", "relu2_2")))


@pytest.mark.parametrize(("height", "border", "pooling"), [(139, "reflect", "average"), (112, "zero", "max")])
def test_vgg19_with_its_deep_blocks_whole(x64, height, border, pooling):
    weights = make(VGG19_NARROW, border=border, pooling=pooling)
    image = picture(height, 33)
    cut = bands_of(weights, image, LAYERS, 16)
    assert [layer.name for layer in cut.layers] == ["relu1_1", "conv2_1", "pool2", "relu3_1", "pool3"]
    assert cut.halo == 24  # 2·1 + 2·2 + 4·4 = 22, in whole steps of 8
    grams = ("relu1_1", "conv2_1", "relu3_1", "relu5_1")
    found = jax.jit(lambda x: banded_features(weights, x, LAYERS, 16, grams))(image)
    assert {name for name, value in found.items() if isinstance(value, Correlations)} == set(grams[:3])
    assert_same(*both(weights, image, LAYERS, 16, grams))


def test_reach_of_vgg19():
    seen = sight(random_weights(network=VGG(blocks=VGG19_NARROW)))
    assert {name: seen[name] for name in ("relu1_1", "pool2", "relu4_2", "relu5_1")} == {
        "relu1_1": (1, 1), "pool2": (4, 6), "relu4_2": (8, 38), "relu5_1": (16, 70)}


def test_prepared_weights_lanes_and_single_layers(x64, monkeypatch):
    monkeypatch.setenv("JAXSTYLE_OPS", "fast")
    weights = make(((64,), (96,), (4,)), border="reflect").prepared()
    images = jnp.stack([picture(53, 8, seed) for seed in range(2)])

    def value(image, rows):
        features = banded_features(weights, image, ("relu1_1", "relu2_1"), rows, ("relu2_1",))
        return jnp.sum(features["relu1_1"] ** 2) + jnp.sum(gram_matrix(features["relu2_1"]) ** 2)

    lanes = [jax.vmap(jax.grad(lambda x: value(x, rows)))(images) for rows in (8, None)]  # noqa: B023
    assert_same(*lanes)


def test_a_gradient_of_a_gradient(x64):
    weights, image = make(((3,), (3,)), pooling="average"), picture(33, 4)

    def slope(image, rows):
        def value(x):
            return jnp.sum(banded_features(weights, x, ("relu1_1", "relu2_1"), rows)["relu2_1"] ** 3)

        return jnp.sum(jnp.sin(jax.grad(value)(image)))

    assert_same(*(jax.jit(jax.grad(lambda x: slope(x, rows)))(image) for rows in (4, None)))  # noqa: B023


def test_nothing_is_cut_where_nothing_is_gained(x64):
    weights, image = make(), picture(30, 8)
    assert bands_of(weights, image, SMALL_LAYERS, 16).window >= 30

    def text(rows):
        return str(jax.make_jaxpr(lambda x: banded_features(weights, x, SMALL_LAYERS, rows))(image))

    assert text(16) == text(None)
    assert banded_features(weights, image, (), 4) == {}


def test_mistakes_are_named():
    weights, image = make(), np.zeros((64, 8, 3), np.float32)
    with pytest.raises(JaxstyleError, match="no layer 'relu9_1'"):
        banded_features(weights, image, ("relu9_1",), 8)
    with pytest.raises(JaxstyleError, match="too small"):
        banded_features(weights, image[:, :3], SMALL_LAYERS, 8)
    with pytest.raises(JaxstyleError, match=r"AlexNet.*only a VGG"):
        banded_features(random_weights(network=AlexNet()), image, ("relu1",), 8)
    with pytest.raises(JaxstyleError, match="cannot be differentiated in bands"):
        jax.grad(lambda w: banded_features(w, image, SMALL_LAYERS, 4)["relu1_1"].sum())(weights)


def test_recipes_in_bands(x64, network, references):
    from test_stylize import RECIPE

    network, references = to64(network), to64(references)
    terms = {"content": Content(layers=("relu2_1",)),
             "style": Gram(layers=("relu1_1", "relu2_1", "relu3_1"), layer_weights=(1.0, 2.0, 3.0))}
    tall = References(content=jnp.tile(references.content, (2, 1, 1)),
                      styles=(jnp.tile(references.styles[0], (2, 1, 1)),))
    image = picture(64, 40)
    values = []
    for rows in (None, 4):
        aims = targets(network, tall, terms, rows)
        values.append((aims, jax.grad(lambda x: objective(network, terms, aims, x, rows=rows)[0])(image)))  # noqa: B023
    assert_same(*values)
    recipe = replace(RECIPE, {"terms": terms, "stages.0.size": 40, "stages.1.size": 60, "start.noise": 0.3})
    results = [stylize(network, tall, replace(recipe, {"rows": rows})) for rows in (None, 4)]
    np.testing.assert_allclose(results[1].image, results[0].image, atol=1e-7)
    for rows in (0, -3, 2.5):
        with pytest.raises(JaxstyleError, match="rows"):
            replace(recipe, {"rows": rows})
