"""Strengths: what is promised of them, on a tiny network."""

from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import fast_to_compile, tiny_recipe, tiny_references, tiny_weights, write_inputs

from jaxstyle import JaxstyleError, References, replace
from jaxstyle.cli.main import main
from jaxstyle.metrics.distances import distances, layers_to_measure, measured
from jaxstyle.metrics.strength import balanced, measure_balance, rising, roles, spread, with_strength
from jaxstyle.ops.resize import resize_to
from jaxstyle.runs.replay import read_manifest
from jaxstyle.sweeps.folder import read_json
from jaxstyle.transfer.inputs import sized
from jaxstyle.transfer.loop import stylize_iter


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    with fast_to_compile():
        yield


def smooth_references(seed=0):
    """Pictures with structure at several sizes, so that their Gram matrices differ."""
    rng = np.random.default_rng(seed)
    photo = resize_to(rng.random((5, 5, 3), np.float32), 32, 32, "cubic")
    style = np.kron(rng.random((8, 8, 3), np.float32) ** 2, np.ones((4, 4, 1), np.float32))
    return References(content=photo, styles=(jnp.asarray(style),))


def base(size=32, steps=40, **changes):
    recipe = tiny_recipe(steps, (size,))
    return replace(recipe, {"start.noise": 0.0, **changes})


def result(weights, references, recipe):
    return deque(stylize_iter(weights, references, recipe), maxlen=1)[0].image


def test_strength_is_what_it_says():
    weights, references, recipe = tiny_weights(), smooth_references(), base()
    balance = measure_balance(weights, references, recipe)
    assert (np.diff(balance.strengths) > 0).all() and (np.diff(balance.factors) > 0).all()
    asked = np.linspace(balance.strengths[0], balance.strengths[-1], 5)[1:-1]
    for strength in asked:
        image = result(weights, references, with_strength(recipe, balance, float(strength)))
        found = measured(weights, references, recipe, image)
        reached = found["content"] ** 0.5 / (found["content"] ** 0.5 + found["style"] ** 0.5)
        assert reached == pytest.approx(strength, abs=0.1)


def test_strength_forgets_the_scale_of_the_weights():
    weights, references, recipe = tiny_weights(), smooth_references(), base()
    other = replace(recipe, {"terms.style.weight": 1e5, "terms.content.weight": 30.0})
    one, two = (balanced(weights, references, r, 0.5).terms for r in (recipe, other))
    assert one["style"].weight / one["content"].weight == pytest.approx(
        two["style"].weight / two["content"].weight, rel=0.02)


def test_strength_is_corrected_for_size():
    """The paper's content term is half a sum, so the style must weigh more by half the count."""
    weights, references = tiny_weights(), smooth_references()

    def style_weight(**changes):
        recipe = base(96, **changes)
        balance = measure_balance(weights, references, recipe, size=32)  # a third of the recipe's own
        return with_strength(recipe, balance, 0.5).terms["style"].weight

    mean, paper = style_weight(), style_weight(**{"terms.content.normalization": "paper"})
    assert paper / mean == pytest.approx(48 * 48 * 8 / 2, rel=0.1)


def test_only_style_weights_change():
    weights, references, recipe = tiny_weights(), smooth_references(), base()
    changed = balanced(weights, references, recipe, 0.7)
    weight = changed.terms["style"].weight
    assert changed == replace(recipe, {"terms.style.weight": weight})
    assert isinstance(weight, float) and weight == float(f"{weight:.5g}")


def test_what_cannot_be_balanced():
    weights, references, recipe = tiny_weights(), smooth_references(), base()
    with pytest.raises(JaxstyleError, match="is a number from 0"):
        balanced(weights, references, recipe, 1.5)
    with pytest.raises(JaxstyleError, match="needs a photo"):
        measure_balance(weights, References(styles=references.styles), recipe)
    with pytest.raises(JaxstyleError, match="has not both"):
        roles({"style": recipe.terms["style"]})


def test_rising_drops_what_falls():
    strengths, factors = rising(np.array([0.1, 0.05, 0.4, 0.3, 0.9]), np.array([1, 2, 3, 4, 5.0]))
    assert list(strengths) == [0.1, 0.4, 0.9]
    assert list(factors) == [1, 3, 5]
    assert spread([2.0, 2.0]) == 0
    assert spread([1.0, np.e**2]) == pytest.approx(1)


def test_distances_are_relative():
    weights, references, recipe = tiny_weights(), tiny_references(), tiny_recipe()
    content, style = references.content, references.styles[0]
    layers = layers_to_measure(weights, recipe)
    assert layers == (("relu2_1",), ("relu1_1", "relu2_1"))
    same = distances(weights, References(content=content, styles=(content,)), content, *layers)
    assert float(same["content"]) == float(same["style"]) == 0
    found = distances(weights, references, content[::-1], *layers)
    features = [jax.tree.map(lambda value: np.asarray(value, np.float64), weights.features(x, layers[1]))
                for x in (content[::-1], content, style)]

    def relative(a, b):
        return ((a - b) ** 2).sum() / (b**2).sum()

    def gram(x):
        flat = x.reshape(-1, x.shape[-1])
        return flat.T @ flat / len(flat)

    mirrored, straight, painting = features
    assert found["content"] == pytest.approx(relative(mirrored["relu2_1"], straight["relu2_1"]), rel=1e-4)
    assert found["style"] == pytest.approx(
        np.mean([relative(gram(mirrored[n]), gram(painting[n])) for n in layers[1]]), rel=1e-4)
    assert found["content"] > 0.01 and found["style"] > 0
    photo = sized(references, recipe.stages[-1], 1).content
    at = measured(weights, References(content=content), recipe, photo)
    assert at["content"] == pytest.approx(0, abs=1e-6) and "style" not in at


def test_commands(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path / "cache"))
    inputs = write_inputs(tmp_path / "inputs")
    common = ["--weights", inputs["weights"], "--recipe", "gatys-2015", "--size", "24", "--steps", "4",
              "--terms.content.layers", "relu2_1", "--terms.style.layers", "relu1_1,relu2_1",
              "--terms.style.layer_weights", "0.5,0.5"]
    pictures = [inputs["photo"], inputs["painting"]]
    weights = []
    for strength in ("0.2", "0.8"):
        out = tmp_path / f"{strength}.png"
        assert main(["stylize", *pictures, "-o", str(out), "--strength", strength, *common]) == 0
        weights.append(read_manifest(out)["recipe"]["terms"]["style"]["weight"])
    assert weights[0] < weights[1]
    sweep = tmp_path / "sweep"
    assert main(["sweep", *pictures, "-o", str(sweep), "--vary", "strength=0.2,0.8", *common]) == 0
    records = [read_json(sweep / "lanes" / f"{i:04d}" / "manifest.json") for i in range(2)]
    assert [r["recipe"]["terms"]["style"]["weight"] for r in records] == weights
    assert [r["labels"] for r in records] == [{"strength": "0.2"}, {"strength": "0.8"}]
