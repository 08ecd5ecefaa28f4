"""Patches: matching, energy and gradient against loops over patches, in double precision."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from patch_loops import evaluated, given, one_layer, patches_of, score_by_loops, term_by_loops

from jaxstyle.losses.patches.copies import copy_of, variants

RNG = np.random.default_rng(0)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("size", "stride", "normalization"), [
    (1, 1, "paper"), (2, 2, "mean"), (2, 1, "cnnmrf"), (3, 1, "relative"), (3, 1, "cnnmrf"), (3, 2, "paper"),
    (3, 2, "mean"), (3, 2, "relative"), (3, 2, "cnnmrf")])
def test_value_and_gradient_are_the_definition_for_every_normalization_and_stride(normalization, size,
    stride):
    term = one_layer(size=size, stride=stride, normalization=normalization, gamma=0.7)
    features, styles, content_map, style_maps = given()
    expected, slope, *_ = term_by_loops(term, features, [[s] for s in styles], content_map,
                                        [[m] for m in style_maps])
    value, gradient, _ = evaluated(term, features, styles, content_map, style_maps)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(gradient, slope, rtol=1e-9, atol=1e-13)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("guided", [True, False])
@pytest.mark.parametrize("matching", ["paper", "relative", "neural-doodle"])
def test_value_and_gradient_are_the_definition_for_every_matching(matching, guided):
    term = one_layer(matching=matching, normalization="paper", gamma=2.0)
    features, styles, content_map, style_maps = given(seed=3)
    content_map[0, 0], style_maps[0][1, 1] = 0, 0  # black pixels are legal
    given_maps = (content_map, style_maps) if guided else (None, ())
    expected, slope, *_ = term_by_loops(term, features, [[s] for s in styles], given_maps[0],
                                        [[m] for m in given_maps[1]])
    value, gradient, _ = evaluated(term, features, styles, *given_maps)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(gradient, slope, rtol=1e-9, atol=1e-13)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("stride", "rotations", "scales"), [(1, 1, 0), (2, 0, 1)])
def test_copies_are_matched_like_styles_of_their_own(stride, rotations, scales):
    term = one_layer(stride=stride, rotations=rotations, scales=scales, rotation_step=9.0, scale_step=1.2,
                     normalization="relative", gamma=0.5)
    features, styles, content_map, style_maps = given(style_shapes=((12, 14),), seed=5)
    kinds = variants(rotations, scales, 9.0, 1.2)
    assert len(kinds) == (2 * rotations + 1) * (2 * scales + 1) and kinds[0] == (0.0, 1.0)
    copies = [np.asarray(copy_of(jnp.asarray(styles[0]), *kind, 14)) for kind in kinds]
    maps = [np.asarray(copy_of(jnp.asarray(style_maps[0]), *kind, 14)) for kind in kinds]
    expected, slope, chosen, _ = term_by_loops(term, features, [copies], content_map, [maps])
    first = len(patches_of(copies[0], 3, stride))
    assert any(number >= first for number in chosen), "the copies are never the best: the test shows nothing"
    value, gradient, _ = evaluated(term, features, styles, content_map, style_maps)
    np.testing.assert_allclose(value, expected, rtol=1e-10)
    np.testing.assert_allclose(gradient, slope, rtol=1e-8, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_gradient_of_cnnmrf_is_the_one_of_its_program():
    """−w · (1/n(p)) · Σ (T_match − S) at every feature position p, with stride 2 and the tail."""
    term = one_layer(stride=2, normalization="cnnmrf", matching="paper", weight=1e-4)
    features, styles, *_ = given(shape=(8, 10, 3), style_shapes=((9, 7),), seed=7)
    candidates = [q for _, q in patches_of(styles[0], 3, 2)]
    summed, count = np.zeros_like(features), np.zeros((8, 10, 1))
    for (i, j), p in patches_of(features, 3, 2):
        best = max(candidates, key=lambda q: np.sum(p * q) / np.linalg.norm(q) / np.linalg.norm(p))
        summed[i : i + 3, j : j + 3] += best - p
        count[i : i + 3, j : j + 3] += 1
    assert count.min() == 1 and count.max() >= 4, "the tail is covered, and by overlapping patches"
    _, gradient, _ = evaluated(term, features, styles)
    np.testing.assert_allclose(term.weight * gradient, -1e-4 * summed / count, rtol=1e-10, atol=1e-18)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("matching", ["neural-doodle", "relative"])
def test_variety_lowers_scores_by_the_last_best_ones_and_remembers_them(matching):
    term = one_layer(variety=0.8, matching=matching, normalization="paper")
    features, styles, *_ = given(style_shapes=((8, 6),), seed=11)
    scale = np.sqrt(np.sum(styles[0]**2) / 48)

    def cosines(p, q):  # of whole patches; neural-doodle's are sums of pixel cosines already
        return score_by_loops(term, p, None, q, None, (scale, 1)) / (
            1 if matching == "neural-doodle" else np.linalg.norm(p) / scale)

    style_patches = [q for _, q in patches_of(styles[0], 3)]
    table = np.array([[cosines(p, q) for q in style_patches] for _, p in patches_of(features, 3)])
    chosen = np.argmax(table - 0.8 * table.max(axis=0), axis=1)
    assert np.any(chosen != np.argmax(table, axis=1)), "variety changes nothing here: the test shows nothing"
    expected = sum(np.sum((p - style_patches[c])**2) for (_, p), c in zip(patches_of(features, 3), chosen))
    value, _, memory = evaluated(term, features, styles)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(memory["peaks"]["a"][0].ravel(), table.max(axis=0), rtol=1e-12)
    moved = features * np.random.default_rng(1).uniform(0.2, 2, features.shape)
    later = np.array([[cosines(p, q) for q in style_patches] for _, p in patches_of(moved, 3)])
    chosen = np.argmax(later - 0.8 * table.max(axis=0), axis=1)
    expected = sum(np.sum((p - style_patches[c])**2) for (_, p), c in zip(patches_of(moved, 3), chosen))
    value, _, memory = evaluated(term, moved, styles, memory=memory)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(memory["peaks"]["a"][0].ravel(), later.max(axis=0), rtol=1e-12)
    assert evaluated(one_layer(), features, styles)[2] == {}, "without variety nothing is remembered"


@pytest.mark.usefixtures("x64")
def test_variety_with_copies_keeps_nothing_of_their_padding_and_stays_finite():
    term = one_layer(variety=0.3, scales=1, scale_step=1.2)
    features, styles, *_ = given(style_shapes=((12, 9),), seed=2)
    memory = None
    for _ in range(2):
        value, gradient, memory = evaluated(term, features, styles, memory=memory)
        assert np.isfinite(value) and np.all(np.isfinite(gradient))
        assert all(np.all(np.isfinite(peak)) for peak in memory["peaks"]["a"])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("matching", ["paper", "relative", "neural-doodle"])
def test_maps_of_no_weight_are_no_maps_and_of_great_weight_decide_alone(matching):
    features, styles, content_map, style_maps = given(shape=(9, 9, 3), style_shapes=((9, 9),), seed=4)
    without = evaluated(one_layer(matching=matching), features, styles)[:2]
    with_none = evaluated(one_layer(matching=matching, gamma=0.0), features, styles, content_map,
                          style_maps)[:2]
    np.testing.assert_allclose(with_none[0], without[0], rtol=1e-12)
    np.testing.assert_allclose(with_none[1], without[1], rtol=1e-9, atol=1e-14)
    # Blocks of 3×3 of one label: with size 1 every position has exact partners and finds one of them.
    term = one_layer(matching=matching, gamma=1e6, size=1, normalization="paper")
    _, _, chosen, _ = term_by_loops(term, features, [[styles[0]]], content_map, [[style_maps[0]]])
    assert np.array_equal(style_maps[0].reshape(-1, 2)[chosen], content_map.reshape(-1, 2))
    expected = sum(np.sum((p - styles[0].reshape(-1, 3)[c])**2) for p,
                   c in zip(features.reshape(-1, 3), chosen))
    value = evaluated(term, features, styles, content_map, style_maps)[0]
    np.testing.assert_allclose(value, expected, rtol=1e-9)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("matching", ["paper", "relative", "neural-doodle"])
def test_a_style_that_is_the_content_with_the_same_map_costs_nothing(matching):
    features, _, content_map, _ = given(seed=6)
    term = one_layer(matching=matching, gamma=3.0)
    value, gradient, _ = evaluated(term, features, [features], content_map, [content_map])
    np.testing.assert_allclose(value, 0, atol=1e-25)
    np.testing.assert_allclose(gradient, 0, atol=1e-13)


@pytest.mark.usefixtures("x64")
def test_black_maps_and_dead_features_give_no_nan():
    features, styles, content_map, style_maps = given(seed=8)
    features[:4], styles[0][2:5] = 0, 0
    term = one_layer(matching="neural-doodle")
    value, gradient, _ = evaluated(term, features, styles, 0 * content_map, [0 * m for m in style_maps])
    assert np.isfinite(value) and np.all(np.isfinite(gradient))


@pytest.mark.usefixtures("x64")
def test_labels_that_are_parallel_as_colours_differ_in_relative_matching():
    """Grey, white and black: as vectors the first two point the same way and the third nowhere."""
    labels = np.array([0.0, 0.5, 1.0]).repeat(4)[:, None, None] * np.ones((1, 6, 3))
    features = np.full((12, 6, 2), 0.5)
    style = labels[::-1, :, :2] + 0.1  # every label looks different, and the layout is turned over
    term = one_layer(gamma=1e4, size=1, normalization="paper")
    _, gradient, _ = evaluated(term, features, [style], labels, [labels[::-1]])
    np.testing.assert_allclose(gradient, 2 * (features - (labels[:, :, :2] + 0.1)), rtol=1e-9)


@pytest.mark.usefixtures("x64")
def test_relative_matching_and_loss_do_not_see_the_scale_of_the_network():
    features, styles, content_map, style_maps = given(seed=9)
    term = one_layer(gamma=2.0)
    value = evaluated(term, features, styles, content_map, style_maps)[0]
    scaled = evaluated(term, 1e3 * features, [1e3 * s for s in styles], content_map, style_maps)[0]
    np.testing.assert_allclose(scaled, value, rtol=1e-12)
