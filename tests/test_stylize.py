"""The loop: stages, starts, snapshots, resuming, no recompilation, guards."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import to64

from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import random_weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.losses import Content, Gram, TotalVariation
from jaxstyle.ops.resize import resize
from jaxstyle.pytrees import replace, stack, unstack
from jaxstyle.references import References
from jaxstyle.solvers import Adam, ArmijoLbfgs, Lbfgs
from jaxstyle.transfer import program
from jaxstyle.transfer.inputs import first_image
from jaxstyle.transfer.loop import stylize, stylize_iter
from jaxstyle.transfer.memory import memory_to_run
from jaxstyle.transfer.recipe import Recipe, Stage, Start

# The package's attribute of that name is the function.

RECIPE = Recipe(
    terms={"content": Content(weight=1.0, normalization="relative"),
           "style": Gram(weight=10.0, normalization="relative"), "tv": TotalVariation(weight=0.1)},
    solver=ArmijoLbfgs(), start=Start(noise=0.5),
    stages=(Stage(size=24, steps=6), Stage(size=32, steps=5)), seed=3,
)


def last(snapshots):
    *_, final = snapshots
    return final


def test_loss_falls_and_shape_is_the_contents(network, references):
    snapshots = list(stylize_iter(network, references, RECIPE))
    first, final = snapshots[0], snapshots[-1]
    assert final.image.shape == (26, 32, 3)
    assert final.image.min() >= 0 and final.image.max() <= 1
    assert first.step == 0
    memory = memory_to_run(network, references, RECIPE)
    assert memory > 1e5
    assert memory < 1e8
    for stage in (0, 1):
        losses = np.concatenate([s.losses["total"] for s in snapshots if s.stage == stage and s.losses])
        assert len(losses) == RECIPE.stages[stage].steps
        assert losses[-1] < losses[0]


def test_loop_equals_the_pure_function_however_often_snapshots_are_taken(network, references):
    pure = stylize(network, references, RECIPE)
    for every in (None, 1, 4):
        final = last(stylize_iter(network, references, RECIPE, every=every))
        np.testing.assert_allclose(final.image, pure.image, atol=1e-5)
    assert {s.step for s in stylize_iter(network, references, RECIPE, every=4) if s.stage == 0} >= {0, 4, 6}


def test_the_same_run_twice_is_bit_identical(network, references):
    runs = [last(stylize_iter(network, references, RECIPE)) for _ in range(2)]
    np.testing.assert_array_equal(runs[0].image, runs[1].image)


@pytest.mark.parametrize("solver", [ArmijoLbfgs(), Lbfgs(), Adam()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize(("stage", "step"), [(0, 4), (1, 2)])
def test_resumes_bit_for_bit(network, references, solver, stage, step):
    recipe = replace(RECIPE, {"solver": solver})
    saved = None
    for snapshot in stylize_iter(network, references, recipe, every=2):
        if (snapshot.stage, snapshot.step) == (stage, step):
            saved = jax.tree.map(np.asarray, snapshot)
    straight = snapshot
    resumed = last(stylize_iter(network, references, recipe, resume=saved))
    np.testing.assert_array_equal(straight.image, resumed.image)


def test_changing_numbers_recompiles_nothing(network, references):
    last(stylize_iter(network, references, RECIPE))
    counts = [f._cache_size() for f in (program._targets, program._begin, program._advance)]
    for changes in ({"terms.style.weight": 3}, {"terms.content.layer_weights": (2,)}, {"seed": 9},
                    {"start.noise": 1}, {"solver.first_step": 0.02}, {"terms.tv.weight": 0}):
        last(stylize_iter(network, references, replace(RECIPE, changes)))
    assert [f._cache_size() for f in (program._targets, program._begin, program._advance)] == counts


def test_lanes_of_a_sweep_equal_single_runs(network, references, x64):
    network, references = to64(network), to64(references)
    short = replace(RECIPE, {"stages": (Stage(size=32, steps=4),)})
    recipes = [replace(short, {"terms.style.weight": w, "seed": s}) for w, s in ((1.0, 0), (30.0, 1))]
    lanes = jax.jit(jax.vmap(lambda r: stylize(network, references, r)))(stack(recipes))
    for i, recipe in enumerate(recipes):
        single = stylize(network, references, recipe)
        np.testing.assert_allclose(unstack(lanes, i).image, single.image, atol=1e-9)


def test_content_start_without_style_does_not_move(network, references):
    recipe = replace(RECIPE, {"start.noise": 0.0, "terms": {"content": Content(weight=1.0)},
                              "stages": (Stage(size=32, steps=5),)})
    final = last(stylize_iter(network, references, recipe))
    np.testing.assert_array_equal(final.image, resize(references.content, 32))


def test_starts(references):
    like = np.asarray(references.content)

    def image(start, seed=0, refs=references):
        return np.asarray(first_image(refs, start, seed))

    np.testing.assert_allclose(image(Start(noise=0.0)), like, atol=1e-6)
    noise = image(Start(noise=1.0))
    assert noise.shape == like.shape and 0.45 < noise.mean() < 0.55 and noise.std() > 0.2
    assert noise.min() >= 0 and noise.max() <= 1
    np.testing.assert_allclose(image(Start(noise=0.25)), 0.75 * like + 0.25 * noise, atol=1e-6)
    assert not np.array_equal(noise, image(Start(noise=1.0), seed=1))
    normal = image(Start(noise=1.0, deviation=0.01, distribution="normal"))
    np.testing.assert_allclose([normal.mean(), normal.std()], [0.5, 0.01], rtol=0.1)
    assert image(Start(noise=0.0, base="style")).shape == like.shape
    given = References(content=like, styles=references.styles, start=np.full((8, 8, 3), 0.25, np.float32))
    np.testing.assert_allclose(image(Start(noise=0.0, base="image"), refs=given), 0.25, atol=1e-6)


def test_texture_synthesis_needs_no_content(network, references):
    recipe = replace(RECIPE, {"terms": {"style": Gram(weight=1.0, normalization="relative")},
                              "start.noise": 1.0})
    final = last(stylize_iter(network, References(styles=references.styles), recipe))
    assert final.image.shape == (32, 28, 3)


@pytest.mark.parametrize(("references_of", "changes", "message"), [
    (lambda r: References(styles=r.styles), {}, "content image"),
    (lambda r: References(content=r.content), {}, "style image"),
    (lambda r: References(), {}, "neither a content nor a style"),
    (lambda r: r, {"start.base": "image"}, "starts from the image"),
    (lambda r: r, {"stages": (Stage(size=8, steps=1),)}, "too small"),
    (lambda r: r, {"terms.style.layers": ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu9_1")}, "relu9_1"),
    (lambda r: r, {"terms.style.weight": float("inf")}, "not a finite number"),
    (lambda r: r, {"terms.style.blend": (1.0, 2.0)}, "2 coefficients for 1"),
])
def test_mistakes_are_named(network, references, references_of, changes, message):
    with pytest.raises(JaxstyleError, match=message):
        last(stylize_iter(network, references_of(references), replace(RECIPE, changes)))


def test_ten_failures_in_a_row_end_the_run(network, references):
    recipe = replace(RECIPE, {"solver": Adam(learning_rate=1e30), "stages": (Stage(size=32, steps=40),)})
    with pytest.raises(JaxstyleError, match="in a row"):
        last(stylize_iter(network, references, recipe))


def test_precision_is_checked():
    with pytest.raises(JaxstyleError, match="float16"):
        replace(RECIPE, {"precision": "float16"})


def test_bfloat16_stays_close(network, references):
    full = stylize(network, references, RECIPE)
    half = stylize(network, references, replace(RECIPE, {"precision": "bfloat16"}))
    assert half.image.dtype == jnp.float32
    np.testing.assert_allclose(half.value, full.value, rtol=0.1)


@pytest.mark.parametrize(("width", "size", "steps", "precision", "prepares"), [
    (256, 256, 100, "float32", True), (256, 32, 100, "float32", False), (256, 32, 10000, "float32", True),
    (48, 256, 100, "float32", False), (48, 32, 1, "bfloat16", True),
])
def test_filters_are_prepared_where_the_run_is_long(monkeypatch, width, size, steps, precision, prepares):
    monkeypatch.setenv("JAXSTYLE_OPS", "fast")
    monkeypatch.setattr(program, "PREPARE_FROM", 1e12)
    weights = random_weights(network=VGG(blocks=((96, width),)))
    style = Gram(layers=("relu1_2",), layer_weights=(1.0,))
    recipe = Recipe(terms={"style": style}, solver=Adam(), precision=precision,
                    stages=(Stage(size=size, steps=steps),))
    references = References(styles=(jnp.zeros((size, size, 3)),))
    ready = program.Program(weights, references, recipe, 0).ready()
    assert ("backward" in ready.params["conv1_2"]) == prepares
