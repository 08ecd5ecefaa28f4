"""Absolute weights on another network: parts of the objective keep their proportions."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import fast_to_compile

from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import random_weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.losses import Content, Gram, Patches, TotalVariation
from jaxstyle.pytrees import replace, to_json
from jaxstyle.references import References
from jaxstyle.runs.replay import recipe_from_json
from jaxstyle.transfer import presets
from jaxstyle.transfer.objective import objective, targets
from jaxstyle.transfer.presets.translation import loss_scale, translated
from jaxstyle.transfer.recipe import Recipe
from jaxstyle.weights import scales
from jaxstyle.weights.scales import OXFORD, Scale, measured_scales, recorded_scales
from jaxstyle.weights.verify import colour_card

LAYERS = ("relu1_1", "relu2_1")


def network(seed=0, widths=((4,), (8,)), gain=1.0):
    """A random network whose features are `gain` times as strong."""
    made = random_weights(seed=seed, network=VGG(blocks=widths, border="reflect"))
    return dataclasses.replace(made, matrix=made.matrix * gain, offset=made.offset * gain)


@pytest.fixture(autouse=True)
def quick():
    with fast_to_compile():
        yield


@pytest.fixture
def recorded(monkeypatch):
    """As if a network of known scale had been published."""
    def record(weights):
        monkeypatch.setattr("jaxstyle.transfer.presets.translation.recorded_scales",
                            lambda name: measured_scales(weights, LAYERS))
    return record


def test_scales_are_means_over_the_colour_card():
    weights = network()
    features = weights.features(jnp.asarray(colour_card()), LAYERS)
    for layer, scale in measured_scales(weights, LAYERS).items():
        x = np.asarray(features[layer], np.float64)
        flat = x.reshape(-1, x.shape[-1])
        assert scale.channels == x.shape[-1]
        np.testing.assert_allclose(scale.square, np.mean(x**2), rtol=1e-5)
        np.testing.assert_allclose(scale.gram, np.sum((flat.T @ flat / len(flat)) ** 2), rtol=1e-4)


def test_oxfords_scale_is_the_one_its_published_losses_imply():
    oxford = recorded_scales(OXFORD)
    assert {layer: scale.channels for layer, scale in oxford.items()} == {
        "relu1_1": 64, "relu2_1": 128, "relu3_1": 256, "relu4_1": 512, "relu4_2": 512, "relu5_1": 512}
    # 100 · mean (A/(CN))² at relu4_1 was 1.24e7 for one painting; the card is within a factor of 5
    assert 1 / 5 < 100 * oxford["relu4_1"].gram / 512**4 / 1.24e7 < 5
    with pytest.raises(JaxstyleError, match="no scale is recorded of 'AlexNet'"):
        recorded_scales("AlexNet")


CASES = {
    "content mean": Content(layers=LAYERS, layer_weights=(1.0, 0.5), normalization="mean"),
    "content paper": Content(layers=LAYERS, layer_weights=(1.0, 0.5), normalization="paper"),
    "gram paper": Gram(layers=LAYERS, layer_weights=(1.0, 2.0), normalization="paper"),
    "neural-style": Gram(layers=LAYERS, layer_weights=(1.0, 2.0), normalization="neural-style"),
    "notebook": Gram(layers=LAYERS, layer_weights=(1.0, 2.0), normalization="gatys-notebook"),
    "patches": Patches(layers=LAYERS, normalization="mean", matching="neural-doodle"),
    "cnnmrf": Patches(layers=LAYERS, normalization="cnnmrf", matching="paper", stride=2),
    "relative": Gram(layers=LAYERS, layer_weights=(1.0, 2.0), normalization="relative"),
}


@jax.jit
def values_of(terms, weights, references, image):
    """Each term by name."""
    return objective(weights, terms, targets(weights, references, terms), image)[1][0]


def test_every_absolute_loss_is_the_same_on_a_network_of_another_strength(recorded, references):
    """The same filters, their features 300 times as strong: translated weights undo it exactly."""
    strong, weak = network(gain=300.0), network()
    recorded(strong)
    image = jnp.asarray(references.content[::-1])
    content = jnp.asarray(references.content)
    given = References(content=content, styles=(jnp.asarray(references.styles[0]),))
    recipe = translated(Recipe(terms=CASES, made_for=OXFORD), weak)
    assert recipe.made_for is None and recipe.terms["relative"] == CASES["relative"]
    there = values_of(CASES, strong, given, image)
    here = values_of(recipe.terms, weak, given, image)
    for name in CASES:
        np.testing.assert_allclose(here[name], there[name], rtol=2e-3, err_msg=name)


def test_raw_gamma_follows_the_length_of_the_features(recorded):
    recorded(network(gain=300.0))
    term = Patches(layers=LAYERS, matching="paper", normalization="relative", gamma=900.0)
    recipe = translated(Recipe(terms={"x": term}, made_for=OXFORD), network())
    np.testing.assert_allclose(recipe.terms["x"].gamma, 3.0, rtol=1e-3)
    assert recipe.terms["x"].layer_weights == term.layer_weights


def test_the_network_itself_and_recipes_for_any_network_are_left_alone(recorded):
    weights = network()
    recorded(network(gain=1.5))
    for made_for in (OXFORD, None):
        recipe = Recipe(terms={"c": CASES["content mean"], "tv": TotalVariation()}, made_for=made_for)
        assert translated(recipe, weights) == replace(recipe, {"made_for": None})


def test_a_layer_of_unknown_scale_is_named():
    recipe = Recipe(terms={"c": Content(layers=("relu2_2",))}, made_for=OXFORD)
    with pytest.raises(JaxstyleError, match="layer relu2_2 no scale is recorded"):
        translated(recipe, network(widths=((4,), (4, 4))))


@pytest.mark.parametrize("name", ["gatys-2015", "gatys-notebook", "neural-style", "neural-doodle", "cnnmrf",
                                  "semantic-report"])
def test_recipes_of_programs_name_their_network_and_keep_their_balance_on_ours(monkeypatch, name):
    recipe = presets.named(name)
    assert recipe.made_for == OXFORD
    assert recipe_from_json(to_json(recipe)) == recipe
    slim = {layer: Scale(64, 4.0, 900.0) for layer in recorded_scales(OXFORD)}
    monkeypatch.setattr("jaxstyle.transfer.presets.translation.measured_scales",
                        lambda weights, layers: {layer: slim[layer] for layer in layers})
    there, here = recipe.terms, translated(recipe, network()).terms
    oxford = recorded_scales(OXFORD)
    for key in ("content", "style"):
        for layer, before, after in zip(there[key].layers, there[key].layer_weights, here[key].layer_weights):
            np.testing.assert_allclose(after * loss_scale(here[key], slim[layer]),
                                       before * loss_scale(there[key], oxford[layer]), rtol=1e-9)
    assert here["tv"] == there["tv"] if "tv" in there else True
    assert scales.alike(oxford, oxford)
