"""Patches: matching and energy against loops over patches, semantic maps, whole runs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import looking

from jaxstyle.errors import JaxstyleError
from jaxstyle.losses import Patches, patch_loss
from jaxstyle.losses.patches import coverage, matching_key, pooled, unit
from jaxstyle.references import References
from jaxstyle.solvers import ArmijoLbfgs
from jaxstyle.transfer.inputs import check_maps, sized
from jaxstyle.transfer.loop import stylize_iter
from jaxstyle.transfer.recipe import Recipe, Stage, Start

RNG = np.random.default_rng(0)


def patches_of(x: np.ndarray, size: int) -> list[np.ndarray]:
    return [x[i : i + size, j : j + size] for i in range(x.shape[0] - size + 1)
            for j in range(x.shape[1] - size + 1)]


def energy_by_loops(features, key, styles, size, divide=True):
    """Σ ‖Ψ_i − Ψ_NN(i)‖² and its gradient, patch by patch."""
    total, gradient = 0.0, np.zeros_like(features)
    wide = features.shape[1] - size + 1
    candidates = [(p, k) for style, style_key in styles
                  for p, k in zip(patches_of(style, size), patches_of(style_key, size))]
    for at, (patch, mine) in enumerate(zip(patches_of(features, size), patches_of(key, size))):
        scores = [np.sum(mine * k) / (max(np.linalg.norm(k), 1e-12) if divide else 1) for _, k in candidates]
        difference = patch - candidates[int(np.argmax(scores))][0]
        total += np.square(difference).sum()
        i, j = divmod(at, wide)
        gradient[i : i + size, j : j + size] += 2 * difference
    return total, gradient


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("divide", [True, False])
@pytest.mark.parametrize(("size", "shapes"), [(1, [(4, 3)]), (2, [(4, 5), (3, 6)]), (3, [(5, 4), (3, 3)])])
def test_energy_and_gradient_are_the_definition(size, shapes, divide):
    features, key = RNG.normal(size=(6, 5, 3)), RNG.normal(size=(6, 5, 4))
    styles = [(RNG.normal(size=(*shape, 3)), RNG.normal(size=(*shape, 4))) for shape in shapes]
    expected, slope = energy_by_loops(features, key, styles, size, divide)
    def loss(x):
        given = jax.tree.map(jnp.asarray, styles)
        return patch_loss(x, jnp.asarray(key), given, size, unit_scores=not divide)

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(features))
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(gradient, slope, rtol=1e-10, atol=1e-12)
    direction = jnp.asarray(RNG.normal(size=features.shape))
    curved = jax.grad(lambda x: jnp.vdot(jax.grad(loss)(x), direction))(jnp.asarray(features))
    np.testing.assert_allclose(curved, 2 * coverage(6, 5, size)[:, :, None] * direction, rtol=1e-12)


@pytest.mark.parametrize(("shape", "size"), [((6, 5), 3), ((3, 3), 3), ((4, 3), 3), ((5, 2), 2), ((2, 3), 1)])
def test_coverage_counts_patches(shape, size):
    expected = np.zeros(shape, int)
    for i in range(shape[0] - size + 1):
        for j in range(shape[1] - size + 1):
            expected[i : i + size, j : j + size] += 1
    np.testing.assert_array_equal(coverage(*shape, size), expected)


@pytest.mark.usefixtures("x64")
def test_keys_of_the_program_are_cosines_and_zero_vectors_score_zero():
    x, m = RNG.normal(size=(2, 3, 4)), RNG.uniform(size=(2, 3, 2))
    x[0, 0], m[1, 1] = 0, 0
    ones = (jnp.ones(()), jnp.ones(()))
    a = matching_key(jnp.asarray(x), jnp.asarray(m), 10.0, "neural-doodle", ones)
    scores = np.einsum("ijk,mnk->ijmn", a, a)
    def cosine(u, v):
        norms = np.linalg.norm(u) * np.linalg.norm(v)
        return np.dot(u, v) / norms if norms else 0.0

    for p in np.ndindex(2, 3):
        for q in np.ndindex(2, 3):
            expected = cosine(x[p], x[q]) + 10 * cosine(m[p], m[q])
            np.testing.assert_allclose(scores[p + q], expected, atol=1e-12)
    assert not np.any(unit(jnp.zeros((2, 2, 3))))


@pytest.mark.usefixtures("x64")
def test_relative_matching_and_loss_do_not_see_the_scale_of_the_network():
    features, style = RNG.normal(size=(5, 6, 3)), RNG.normal(size=(6, 4, 3))
    references = References(styles=(jnp.zeros((24, 16, 3)),),
                            content_map=jnp.asarray(RNG.uniform(size=(20, 24, 2))),
                            style_maps=(jnp.asarray(RNG.uniform(size=(24, 16, 2))),))
    term = Patches(layers=("a",), layer_weights=(1.0,), gamma=2.0)
    values = []
    for scale in (1.0, 1e3):
        target = term.target(references, looking((references.styles[0], {"a": jnp.asarray(style * scale)})))
        values.append(term.loss(jnp.zeros(()), {"a": jnp.asarray(features * scale)}, target))
    np.testing.assert_allclose(values[1], values[0], rtol=1e-12)
    everywhere = term.loss(jnp.zeros(()), {"a": jnp.zeros((5, 6, 3))}, target)
    assert 0.5 < everywhere < 2  # against nothing the loss is about one


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("matching", ["paper", "relative", "neural-doodle"])
def test_a_strong_map_decides_which_patches_match(matching):
    # Left half A, right half B in the style; the other way round in what is wanted.
    sides = np.repeat(np.array([[1.0, 0.0], [0.0, 1.0]]), 6, axis=0)[None].repeat(12, axis=0)
    style = RNG.uniform(0.5, 1, (12, 12, 3)) * np.array([1.0, 0.1, 0.1])
    style[:, 6:] = RNG.uniform(0.5, 1, (12, 6, 3)) * np.array([0.1, 0.1, 1.0])
    term = Patches(layers=("a",), layer_weights=(1.0,), gamma=1e3, matching=matching, normalization="paper")
    references = References(styles=(jnp.zeros((12, 12, 3)),), content_map=jnp.asarray(sides[:, ::-1]),
                            style_maps=(jnp.asarray(sides),))
    look = looking((references.styles[0], {"a": jnp.asarray(style)}))
    target = term.target(references, look)
    x = jnp.asarray(style)  # by its features alone every patch would match itself
    gradient = jax.grad(lambda x: term.loss(jnp.zeros(()), {"a": x}, target))(x)
    assert np.all(np.asarray(gradient)[:, :4, 0] > 0) and np.all(np.asarray(gradient)[:, :4, 2] < 0)
    without = term.target(References(styles=references.styles), look)
    np.testing.assert_allclose(term.loss(jnp.zeros(()), {"a": x}, without), 0, atol=1e-20)


def test_maps_are_pooled_as_a_network_pools():
    semantic = RNG.uniform(size=(17, 12, 2)).astype(np.float32)
    blocks = semantic[:16].reshape(4, 4, 3, 4, 2).mean((1, 3))
    np.testing.assert_allclose(pooled(jnp.asarray(semantic), 4, 3), blocks, rtol=1e-6)
    assert pooled(jnp.asarray(semantic), 5, 3).shape == (5, 3, 2)


def test_maps_must_be_complete():
    style, semantic = np.zeros((4, 4, 3)), np.zeros((4, 4, 2))
    with pytest.raises(JaxstyleError, match="give a content map"):
        check_maps(References(styles=(style,), style_maps=(semantic,)))
    with pytest.raises(JaxstyleError, match="1 style maps for 2 style images"):
        check_maps(References(styles=(style, style), content_map=semantic, style_maps=(semantic,)))
    with pytest.raises(JaxstyleError, match="channels"):
        check_maps(References(styles=(style,), content_map=semantic, style_maps=(semantic[:, :, :1],)))


def test_maps_take_the_size_of_their_images():
    references = References(styles=(np.zeros((20, 30, 3)),), content_map=np.zeros((40, 16, 5)),
                            style_maps=(np.zeros((7, 9, 5)),), start=np.zeros((9, 9, 3)))
    fitted = sized(references, Stage(size=24, steps=1), 0.5)
    assert fitted.content_map.shape == (24, 10, 5) and fitted.start.shape == (24, 10, 3)
    assert fitted.styles[0].shape == (8, 12, 3) and fitted.style_maps[0].shape == (8, 12, 5)


def test_a_painting_is_laid_out_anew_from_maps_alone(network, references):
    semantic = np.zeros((32, 24, 3), np.float32)
    semantic[:16, :, 0], semantic[16:, :, 1] = 1, 1
    style_map = np.zeros((36, 32, 3), np.float32)
    style_map[:, :16, 0], style_map[:, 16:, 1] = 1, 1
    recipe = Recipe(terms={"style": Patches(layers=("relu2_1", "relu3_1"), gamma=10.0)},
                    solver=ArmijoLbfgs(), start=Start(noise=1.0), stages=(Stage(size=32, steps=8),))
    given = References(styles=references.styles, content_map=semantic, style_maps=(style_map,))
    values = []
    for snapshot in stylize_iter(network, given, recipe):
        values.append(float(snapshot.search.best.value))
    assert snapshot.image.shape == (32, 24, 3)
    assert values[-1] < 0.7 * values[0]
