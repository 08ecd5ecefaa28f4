"""Nearest neighbours against loops over all positions, in double precision."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxstyle import ops
from jaxstyle.errors import JaxstyleError
from jaxstyle.losses import Content
from jaxstyle.losses.neighbours import (
    Neighbours,
    Splitting,
    copies_of,
    grid_sample,
    hypercolumns,
    neighbour_loss,
    search_image,
    splitting_loss,
)
from jaxstyle.metrics.strength import Balance, with_strength
from jaxstyle.ops.colors.palette import matched_colours
from jaxstyle.ops.matching import matched
from jaxstyle.references import References
from jaxstyle.transfer.presets import DEFAULT

rng = np.random.default_rng


def positive(seed: int, *shape: int) -> np.ndarray:
    return rng(seed).uniform(0.1, 1, shape)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt(a @ a) / np.sqrt(b @ b))


def best_row(x: np.ndarray, style: np.ndarray, own: np.ndarray, theirs: np.ndarray) -> int:
    """The row of `style` with the greatest centred cosine to one row, by a loop."""
    return int(np.argmax([cosine(x - own, row - theirs) for row in style]))


@pytest.mark.parametrize("block", [None, 1, 4, 7, 100])
def test_blocks_find_what_the_whole_matrix_finds(x64, block):
    x, style = rng(0).standard_normal((23, 5)), rng(1).standard_normal((31, 5))
    index, score = ops.nearest(jnp.asarray(x), jnp.asarray(style), block)
    full = np.array([[sum(a * b) for b in style] for a in x])
    np.testing.assert_array_equal(index, full.argmax(axis=1))
    np.testing.assert_allclose(score, full.max(axis=1), rtol=1e-12)


def test_matches_are_those_of_a_loop_over_both_styles(x64):
    query, first, second = positive(0, 17, 6), positive(1, 9, 6), positive(2, 13, 6)
    both = np.concatenate([first, second])
    found = matched(jnp.asarray(query)[None], [jnp.asarray(first)[:, None], jnp.asarray(second)[None]])
    wanted = [both[best_row(row, both, query.mean(0), both.mean(0))] for row in query]
    np.testing.assert_allclose(found[0], wanted, rtol=1e-12)


def unit_key(x: np.ndarray, mean: np.ndarray, i: int, j: int) -> np.ndarray:
    """The centred unit vector at a position, or at the nearest one inside."""
    away = x[np.clip(i, 0, x.shape[0] - 1), np.clip(j, 0, x.shape[1] - 1)] - mean
    return away / np.sqrt(away @ away)


def test_patches_of_hypercolumns_are_compared_with_those_around(x64):
    query, style = positive(0, 5, 4, 3), positive(1, 4, 6, 3)
    own, theirs = query.mean(axis=(0, 1)), style.mean(axis=(0, 1))
    found = matched(jnp.asarray(query), [jnp.asarray(style)], patch=3)
    for i in range(5):
        for j in range(4):
            scores = np.array([[sum(unit_key(query, own, i + a, j + b) @ unit_key(style, theirs, k + a, m + b)
                                    for a in (-1, 0, 1) for b in (-1, 0, 1))
                                for m in range(6)] for k in range(4)])
            k, m = np.unravel_index(scores.argmax(), scores.shape)
            np.testing.assert_array_equal(found[i, j], style[k, m])


def test_maps_keep_matches_within_what_they_mean(x64):
    query, style = positive(0, 4, 5, 4), positive(1, 6, 5, 4)
    here, there = np.eye(2)[rng(2).integers(0, 2, (4, 5))], np.eye(2)[rng(3).integers(0, 2, (6, 5))]
    sets = jnp.asarray(query), [jnp.asarray(style)]
    maps = jnp.asarray(here), [jnp.asarray(there)]
    found = np.asarray(matched(*sets, *maps, 100.0)).reshape(-1, 4)
    for row, meaning in zip(found, here.reshape(-1, 2)):
        index = int(np.argmin(np.abs(style.reshape(-1, 4) - row).sum(axis=1)))
        np.testing.assert_array_equal(there.reshape(-1, 2)[index], meaning)
    np.testing.assert_allclose(matched(*sets, *maps, 0.0), matched(*sets))


def test_hypercolumns_average_whole_blocks(x64):
    features = {"a": positive(0, 8, 12, 2), "b": positive(1, 2, 3, 3)}
    columns = hypercolumns({k: jnp.asarray(v) for k, v in features.items()}, {"a": 2.0, "b": 0.5}, (2, 3))
    for i in range(2):
        for j in range(3):
            block = features["a"][4 * i:4 * i + 4, 4 * j:4 * j + 4]
            wanted = np.concatenate([2 * block.mean(axis=(0, 1)), 0.5 * features["b"][i, j]])
            np.testing.assert_allclose(columns[i, j], wanted, rtol=1e-12)


def test_loss_and_gradient_are_those_of_the_formula(x64):
    columns, target = positive(0, 3, 4, 5), positive(1, 3, 4, 5)
    target /= np.sqrt((target**2).sum(-1, keepdims=True))
    value, grad = jax.value_and_grad(neighbour_loss)(jnp.asarray(columns), jnp.asarray(target))
    wanted, slope = 0.0, np.zeros_like(columns)
    for i in range(3):
        for j in range(4):
            c, t = columns[i, j], target[i, j]
            length = np.sqrt(c @ c)
            wanted += (1 - c @ t / length) / 12
            slope[i, j] = -(t / length - c * (c @ t) / length**3) / 12
    np.testing.assert_allclose(value, wanted, rtol=1e-12)
    np.testing.assert_allclose(grad, slope, rtol=1e-10, atol=1e-14)
    check_grads(lambda c: neighbour_loss(c, jnp.asarray(target)), (jnp.asarray(columns),), order=1,
                modes=["rev"])
    assert np.isfinite(jax.grad(neighbour_loss)(jnp.zeros((2, 2, 3)), jnp.ones((2, 2, 3)))).all()


def test_splitting_is_a_loop_over_positions(x64):
    x, style = positive(0, 11, 4), positive(1, 8, 4)
    mean, theirs = x.mean(0), style.mean(0)
    wanted = np.mean([min(1 - cosine(row - mean, other - theirs) for other in style) for row in x])
    np.testing.assert_allclose(splitting_loss(jnp.asarray(x), jnp.asarray(style)), wanted, rtol=1e-12)
    check_grads(lambda x: splitting_loss(x, jnp.asarray(style)), (jnp.asarray(x),), order=1, modes=["rev"])


def test_samples_are_a_grid_with_a_random_offset():
    features = jnp.arange(10 * 7).reshape(10, 7, 1)
    seen = {tuple(np.ravel(grid_sample(features, jax.random.key(seed), 4))) for seed in range(20)}
    assert len(seen) > 1
    for sample in seen:
        rows, columns = np.divmod(np.reshape(sample, (3, 3)), 7)
        assert (np.diff(rows, axis=0) == 3).all() and (np.diff(columns, axis=1) == 2).all()


def test_copies_turn_and_mirror():
    image = jnp.arange(6.0).reshape(2, 3, 1)
    assert [copy.shape[:2] for copy in copies_of(image, 4, False)] == [(2, 3), (3, 2), (2, 3), (3, 2)]
    assert len(copies_of(image, 4, True)) == 8 and len(copies_of(image, 1, False)) == 1
    np.testing.assert_array_equal(copies_of(image, 2, False)[1], image[::-1, ::-1])
    np.testing.assert_array_equal(copies_of(image, 1, True)[1], image[:, ::-1])


def test_matched_colours_have_the_styles_moments(x64):
    image, style = positive(0, 20, 20, 3) * 0.2 + 0.4, positive(1, 15, 25, 3) ** 2 * 0.3 + 0.3
    out = np.asarray(matched_colours(jnp.asarray(image), [jnp.asarray(style)], (1.0,))).reshape(-1, 3)
    wanted = style.reshape(-1, 3)
    np.testing.assert_allclose(out.mean(0), wanted.mean(0), atol=1e-6)
    np.testing.assert_allclose(np.cov(out.T), np.cov(wanted.T), atol=1e-4)


def test_what_is_searched_is_the_photo_and_part_of_the_first_image(x64):
    photo, first = jnp.asarray(positive(0, 8, 8, 3)), jnp.asarray(positive(1, 8, 8, 3))
    np.testing.assert_allclose(search_image(photo, first, 0.0), photo)
    np.testing.assert_allclose(search_image(photo, photo, 0.7), photo)
    assert np.abs(np.asarray(search_image(photo, first, 0.5) - photo)).max() > 0.01


def pictures(network) -> tuple[References, object]:
    references = References(content=jnp.asarray(positive(0, 32, 40, 3), jnp.float32),
                            styles=(jnp.asarray(positive(1, 36, 32, 3), jnp.float32),
                                    jnp.asarray(positive(2, 32, 32, 3), jnp.float32)))
    return references, lambda image, layers: network.features(image, layers)


LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")


def test_blend_chooses_between_styles(network):
    references, look = pictures(network)
    both = Neighbours(layers=LAYERS, layer_weights=(1.0,) * 4, scaling="channels", blend=(1.0, 0.0))
    alone = Neighbours(layers=LAYERS, layer_weights=(1.0,) * 4, scaling="channels")
    first = References(content=references.content, styles=references.styles[:1])
    np.testing.assert_allclose(both.target(references, look)["columns"], alone.target(first, look)["columns"],
                               atol=1e-6)


def test_the_style_itself_is_its_own_neighbour(network):
    references, look = pictures(network)
    style = references.styles[0]
    term = Neighbours(layers=LAYERS, layer_weights=(1.0,) * 4)
    target = term.target(References(content=style, styles=(style,)), look)
    assert float(term.loss(style, look(style, LAYERS), target)) < 1e-6
    other = jnp.asarray(positive(5, 36, 32, 3), jnp.float32)
    assert float(term.loss(other, look(other, LAYERS), target)) > 1e-3


def test_target_depends_on_the_first_image_and_on_turned_copies(network):
    references, look = pictures(network)
    term = Neighbours(layers=LAYERS, layer_weights=(1.0,) * 4, share=0.9)
    plain = term.target(references, look)["columns"]
    first = jnp.asarray(positive(7, 32, 40, 3) ** 4, jnp.float32)
    moved = References(content=references.content, styles=references.styles, first=first)
    assert np.abs(np.asarray(term.target(moved, look)["columns"] - plain)).max() > 1e-3
    turned = Neighbours(layers=LAYERS, layer_weights=(1.0,) * 4, share=0.9, turns=4, mirrored=True)
    assert np.abs(np.asarray(turned.target(references, look)["columns"] - plain)).max() > 1e-3


def test_splitting_remembers_its_random_numbers(network):
    references, look = pictures(network)
    term = Splitting(layers=LAYERS, layer_weights=(1.0,) * 4, count=5)
    target = term.target(References(styles=references.styles, seed=3), look)
    features, memory = look(references.content, LAYERS), term.memory(target)
    value, after = term.loss(references.content, features, target, memory)
    again, _ = term.loss(references.content, features, target, memory)
    other, _ = term.loss(references.content, features, target, after)
    assert float(value) == float(again) != float(other)
    different = term.target(References(styles=references.styles, seed=4), look)
    assert not np.array_equal(term.memory(different), memory)


@pytest.mark.parametrize("make", [
    lambda: Neighbours(turns=3), lambda: Neighbours(scaling="none"), lambda: Neighbours(layer_weights=(1.0,)),
    lambda: Splitting(layer_weights=(1.0,)), lambda: Splitting(count=0),
])
def test_wrong_settings_are_refused(make):
    with pytest.raises(JaxstyleError):
        make()


def test_content_may_be_kept_in_the_styles_colours(network):
    references, look = pictures(network)
    style = References(content=references.content, styles=references.styles[:1])
    plain = Content(layers=LAYERS[:1]).target(style, look)
    for palette, close in ((0.0, True), (1.0, False)):
        target = Content(layers=LAYERS[:1], palette=palette).target(style, look)
        assert np.allclose(target["relu1_1"], plain["relu1_1"], atol=1e-5) == close
    coloured = look(matched_colours(style.content, style.styles, (1.0,)), LAYERS[:1])
    np.testing.assert_allclose(target["relu1_1"], coloured["relu1_1"], atol=1e-5)


def test_strength_weighs_neighbours_between_photo_and_texture():
    balance = Balance(np.array([0.2, 0.8]), np.array([0.01, 100.0]))
    terms = DEFAULT.terms
    strong = with_strength(DEFAULT, balance, 1.0).terms
    assert strong["style"].weight == pytest.approx(100 * terms["style"].weight)
    assert strong["neighbours"].weight == pytest.approx(10 * terms["neighbours"].weight)
    assert all(strong[name] == terms[name] for name in ("content", "gamut", "palette", "tv"))
    photo = with_strength(DEFAULT, balance, 0.0).terms
    assert photo["content"].palette == photo["content"].structure == 0
    assert photo["gamut"].weight == photo["palette"].weight == 0
    assert photo["style"].weight == pytest.approx(0.01 * terms["style"].weight)


@pytest.mark.parametrize("patch", [1, 3])
def test_memory_of_matching_is_bounded(patch, optimised):
    """512 × 512 pixels against four turned copies of as large a painting, 672 features a hypercolumn."""
    x = jax.ShapeDtypeStruct((128, 128, 672), jnp.float32)
    styles = [x] * 4
    stats = jax.jit(partial(matched, patch=patch)).lower(x, styles).compile().memory_analysis()
    held = stats.temp_size_in_bytes + stats.argument_size_in_bytes + stats.output_size_in_bytes
    assert held < 1e9  # all scores at once would be 4.3 GB
