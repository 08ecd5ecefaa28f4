"""Many paintings as one style: what is searched, what each counts, and the command."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from tiny import fast_to_compile, write_inputs

from jaxstyle import JaxstyleError, recipes, save
from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import random_weights
from jaxstyle.cli.main import main
from jaxstyle.losses import Neighbours
from jaxstyle.metrics.typical import shares_of, typical_shares
from jaxstyle.references import References
from jaxstyle.transfer.controls import as_one_style
from jaxstyle.weights.store import write_weights

LAYERS = ("relu1_1", "relu2_1")


@pytest.fixture(autouse=True)
def quick():
    with fast_to_compile():
        yield


def pictures(count, size=32):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.random((size, size, 3)).astype("f")) for _ in range(count)]


def test_pooled_neighbours_are_the_nearest_in_any_painting():
    """With the photo among the paintings every hypercolumn finds itself; blended ones do not."""
    weights = random_weights(network=VGG(blocks=((4,), (6,)), border="reflect"))
    photo, other = pictures(2)
    references = References(content=photo, styles=(other, photo))
    made = {}
    for pooled in (False, True):
        term = Neighbours(layers=LAYERS, layer_weights=(1.0, 1.0), share=0.0, pooled=pooled)
        target = term.target(references, weights.features)
        made[pooled] = float(term.loss(photo, weights.features(photo, LAYERS), target))
    assert made[True] < 1e-4 and made[False] > 10 * max(made[True], 1e-6)


def test_pooled_is_a_search_of_all_hypercolumns_at_once():
    """The order of the paintings is nothing, and every place has one of one painting, never a mean of two."""
    weights = random_weights(network=VGG(blocks=((4,), (6,)), border="reflect"))
    photo, one, two = pictures(3)
    term = Neighbours(layers=("relu1_1",), layer_weights=(1.0,), scaling="channels", pooled=True)
    both = term.target(References(content=photo, styles=(one, two)), weights.features)["columns"]
    alone = [term.target(References(content=photo, styles=(each,)), weights.features)["columns"]
             for each in (one, two)]
    swapped = term.target(References(content=photo, styles=(two, one)), weights.features)["columns"]
    np.testing.assert_allclose(both, swapped, atol=1e-6)
    assert not any(np.allclose(both, each) for each in alone)
    rows = np.asarray(both).reshape(-1, both.shape[-1])
    lengths = np.linalg.norm(rows, axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-5)


def test_shares_are_inverse_distances_from_the_mean():
    rng = np.random.default_rng(1)
    grams = [{"a": rng.random((3, 3)), "b": rng.random((4, 4))} for _ in range(4)]
    apart = []
    for each in grams:
        distance = 0.0
        for layer in "ab":
            unit = [g[layer] / np.sqrt((g[layer] ** 2).sum()) for g in grams]
            own = each[layer] / np.sqrt((each[layer] ** 2).sum())
            distance += np.sqrt(((own - sum(unit) / 4) ** 2).sum()) / 2
        apart.append(distance)
    expected = [1 / d / sum(1 / d for d in apart) for d in apart]
    np.testing.assert_allclose(shares_of(grams), expected, rtol=1e-12)
    np.testing.assert_allclose(shares_of(grams[:2]), (0.5, 0.5))
    np.testing.assert_allclose(shares_of(grams[:1] * 3), (1 / 3,) * 3)


def test_a_stranger_counts_least():
    weights = random_weights(network=VGG(blocks=((4,), (6,)), border="reflect"))
    alike = pictures(4)
    shares = typical_shares(weights, [*alike, jnp.zeros((32, 32, 3)).at[:, :, 0].set(1.0)], 32)
    assert abs(sum(shares) - 1) < 1e-9 and shares[-1] < 0.7 * min(shares[:-1])
    with pytest.raises(JaxstyleError, match="at least one painting"):
        typical_shares(weights, [])


def test_as_one_style_changes_what_blends_and_nothing_else():
    recipe = as_one_style(recipes.DEFAULT, (0.25, 0.75))
    changed = {name for name, term in recipe.terms.items() if term != recipes.DEFAULT.terms[name]}
    assert all(recipe.terms[name].blend == (0.25, 0.75) for name in changed)
    kinds = {type(term).__name__ for name, term in recipe.terms.items() if name in changed}
    assert kinds == {"Neighbours", "Gram", "Palette"}
    assert recipe.terms["neighbours"].pooled


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path / "cache"))
    inputs = write_inputs(tmp_path)
    network = VGG(blocks=((4,), (4,), (4,), (4, 4), (4,)), border="reflect")
    write_weights(tmp_path / "deep.safetensors", random_weights(network=network), "vgg19")
    folder = tmp_path / "paintings"
    folder.mkdir()
    for i, image in enumerate(pictures(3)):
        save(folder / f"{i}.png", image)
    command = ["stylize", inputs["photo"], "--together", str(folder), "--shares", "measured", "--size", "32",
               "--steps", "5", "--weights", str(tmp_path / "deep.safetensors"), "-o",
               str(tmp_path / "out.png")]
    assert main(command) == 0
    with Image.open(tmp_path / "out.png") as image:
        assert image.width == 32 and '"pooled": true' in image.text["jaxstyle"]
    assert main([*command, "--force", inputs["painting"]]) == 2
    assert main(["stylize", inputs["photo"], inputs["painting"], "--together", str(folder)]) == 2
    assert "give no others" in capsys.readouterr().err
