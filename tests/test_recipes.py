"""Every named recipe: JSON, size and steps, a short run."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest
from tiny import fast_to_compile

from jaxstyle import recipes
from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import random_weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import load
from jaxstyle.losses import gram_loss
from jaxstyle.pytrees import replace, structure, to_json
from jaxstyle.references import References
from jaxstyle.runs.replay import recipe_from_json
from jaxstyle.transfer.loop import stylize_iter
from jaxstyle.transfer.recipe import Stage
from jaxstyle.weights.port import port

NAMES = sorted(recipes.catalogue())


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    with fast_to_compile():
        yield


@pytest.mark.parametrize("name", NAMES)
def test_json_round_trip_recompiles_nothing(name):
    recipe = recipes.named(name)
    again = recipe_from_json(json.loads(json.dumps(to_json(recipe))))
    assert again == recipe
    assert structure(again) == structure(recipe)
    assert [type(a) for a in jax.tree.leaves(again)] == [type(a) for a in jax.tree.leaves(recipe)]


@pytest.fixture
def network():
    """A narrow VGG with every layer that some recipe looks at."""
    blocks = ((4, 4), (6, 6), (8, 8, 8, 8), (8, 8, 8), (8,))
    return random_weights(seed=1, network=VGG(blocks=blocks, border="reflect"))


@pytest.mark.parametrize("name", NAMES)
def test_two_steps(name, network, references):
    recipe = replace(recipes.with_size(recipes.named(name), 32), {"pooling": "average"})
    recipe = replace(recipe, {"stages": (Stage(size=32, steps=2),)})
    *_, final = stylize_iter(network, references, recipe)
    assert final.step == 2 and np.isfinite(final.image).all()
    assert final.losses["total"][-1] < 1e12
    if recipe.smoothing is None and recipe.photo_gradients is None and recipe.colors is None:
        # What is delivered is what was measured: nothing is left to clip.
        np.testing.assert_array_equal(final.image, recipe.canvas.decode(final.search.best.x))


@pytest.mark.parametrize("name", NAMES)
def test_size_and_steps(name):
    recipe = recipes.named(name)
    assert recipes.with_size(recipe, 300).stages[-1] == Stage(size=300, steps=recipe.stages[-1].steps)
    sizes = [stage.size for stage in recipes.with_size(recipe, 256).stages]
    assert sizes == sorted(sizes)
    steps = [stage.steps for stage in recipes.with_steps(recipe, 100).stages]
    assert sum(steps) == 100


def test_notebook_weights_are_the_notebooks():
    rng = np.random.default_rng(0)
    features, target = rng.normal(size=(4, 4, 8)).astype("f"), rng.normal(size=(8, 8)).astype("f")
    term = recipes.GATYS_NOTEBOOK.terms["style"]
    ours = term.weight * term.layer_weights[0] * gram_loss(features, target, term.normalization)
    flat = features.reshape(-1, 8)
    notebook = 1e3 / 8**2 * np.square(flat.T @ flat / 16 - target).mean()
    np.testing.assert_allclose(ours, notebook, rtol=1e-5)


def test_unknown_names_list_the_choices():
    with pytest.raises(JaxstyleError, match="default, quick, gram"):
        recipes.named("van-gogh")


def test_gram_lowers_the_loss_by_nine_tenths(shared, tmp_path, optimised):
    """Tübingen and Starry Night at 128 pixels with the distilled network of ../shared, 120 steps."""
    source = shared / "weights/vgg19_distilled16x_stage5.npz"
    weights = port(source, tmp_path / "distilled.safetensors", "vgg19")
    references = References(content=load(shared / "images/content/tubingen.jpg"),
                            styles=(load(shared / "images/paintings/vangogh_starry_night.jpg"),))
    recipe = recipes.with_steps(recipes.with_size(recipes.GRAM, 128), 120)
    values = [float(snapshot.search.best.value) for snapshot in stylize_iter(weights, references, recipe)]
    first, last = values[0], values[-1]
    assert last < 0.1 * first
