"""Patches: matching, energy and gradient against loops over patches, in double precision."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import fast_to_compile

from jaxstyle.errors import JaxstyleError
from jaxstyle.losses import Patches
from jaxstyle.losses.patch_copies import copy_of, rotated, upright_part, variants
from jaxstyle.losses.patch_energy import coverage
from jaxstyle.losses.patch_matching import matching_key, pooled, unit
from jaxstyle.references import References
from jaxstyle.solvers import ArmijoLbfgs
from jaxstyle.transfer.inputs import check_maps, sized
from jaxstyle.transfer.loop import stylize_iter
from jaxstyle.transfer.recipe import Recipe, Stage, Start

RNG = np.random.default_rng(0)


def starts(length: int, size: int, stride: int) -> list[int]:
    found = list(range(0, length - size + 1, stride))
    return found if found[-1] == length - size else [*found, length - size]


def patches_of(x: np.ndarray, size: int, stride: int = 1) -> list[tuple[tuple[int, int], np.ndarray]]:
    return [((i, j), x[i : i + size, j : j + size]) for i in starts(x.shape[0], size, stride)
            for j in starts(x.shape[1], size, stride)]


def cosine(u, v):
    norms = np.linalg.norm(u) * np.linalg.norm(v)
    return np.sum(u * v) / norms if norms else 0.0


def score_by_loops(term: Patches, p, pm, q, qm, scales) -> float:
    """How well two patches match, features and maps `[size, size, C]` each, as the papers write it."""
    if term.matching == "neural-doodle":
        each = [cosine(p[i], q[i]) for i in np.ndindex(p.shape[:2])]
        maps = [0.0 if pm is None else float(term.gamma) * cosine(pm[i], qm[i])
                for i in np.ndindex(p.shape[:2])]
        return float(np.sum(each) + np.sum(maps))
    if pm is None:
        return float(np.sum(p * q) / np.linalg.norm(q)) / scales[0]
    if term.matching == "relative":
        pm, qm = np.concatenate([pm, 1 - pm], -1), np.concatenate([qm, 1 - qm], -1)
    joined = [np.concatenate([a.ravel() / scales[0], term.gamma * b.ravel() / scales[1]])
              for a, b in ((p, pm), (q, qm))]
    return float(np.sum(joined[0] * joined[1]) / np.linalg.norm(joined[1]))


def term_by_loops(term: Patches, features, styles, content_map=None, style_maps=None, penalty=None):
    """The term at one layer, its gradient, the matches and each style patch's best cosine.

    styles: for each style its copies `[h, w, C]`; maps alike.
    """
    size, stride = term.size, term.stride
    guided = content_map is not None
    own = [copies[0] for copies in styles]
    energy = np.sum([np.sum(s**2) for s in own]) / np.sum([s.shape[0] * s.shape[1] for s in own])
    map_energy = 1.0
    if guided:
        both = [np.concatenate([m[0], 1 - m[0]], -1) for m in style_maps]
        map_energy = np.sum([np.sum(m**2) for m in both]) / np.sum([m.shape[0] * m.shape[1] for m in both])
    scales = (np.sqrt(energy), np.sqrt(map_energy)) if term.matching == "relative" else (1.0, 1.0)
    candidates = []
    for k, copies in enumerate(styles):
        for c, style in enumerate(copies):
            for (i, j), q in patches_of(style, size, stride):
                qm = style_maps[k][c][i : i + size, j : j + size] if guided else None
                candidates.append((q, qm))
    total, gradient, squares, chosen = 0.0, np.zeros_like(features), 0.0, []
    peaks = np.full(len(candidates), -np.inf)
    covered = np.zeros(features.shape[:2])
    for (i, j), _ in patches_of(features, size, stride):
        covered[i : i + size, j : j + size] += 1
    count = 0
    for (i, j), p in patches_of(features, size, stride):
        pm = content_map[i : i + size, j : j + size] if guided else None
        scores = np.array([score_by_loops(term, p, pm, q, qm, scales) for q, qm in candidates])
        peaks = np.maximum(peaks, scores)
        best = int(np.argmax(scores if penalty is None else scores - penalty))
        chosen.append(best)
        difference = p - candidates[best][0]
        share = 1 / (2 * covered[i : i + size, j : j + size])[...,
            None] if term.normalization == "cnnmrf" else 1.0
        total += np.sum(share * difference**2)
        squares += np.sum(difference**2)
        gradient[i : i + size, j : j + size] += 2 * share * difference
        count += 1
    divisor = 1.0
    if term.normalization == "mean":
        divisor = count * size**2 * features.shape[2]
    elif term.normalization == "relative":
        own_patches = [q for style in own for _, q in patches_of(style, size, stride)]
        divisor = count * np.mean([np.sum(q**2) for q in own_patches])
    return total / divisor, gradient / divisor, chosen, peaks


def given(shape=(8, 9, 3), style_shapes=((7, 6), (6, 8)), channels=2, seed=0):
    """Positive features as after a rectifier, in a content and several styles, with maps of flat labels."""
    rng = np.random.default_rng(seed)
    def labels(h, w):
        return np.eye(channels)[rng.integers(0, channels, (-(-h // 3), -(-w // 3)))].repeat(3, 0).repeat(3,
            1)[:h, :w]

    features = np.maximum(rng.normal(size=shape), 0) + 0.01
    styles = [np.maximum(rng.normal(size=(*s, shape[2])), 0) + 0.01 for s in style_shapes]
    return features, styles, labels(*shape[:2]), [labels(*s) for s in style_shapes]


def evaluated(term: Patches, features, styles, content_map=None, style_maps=(), memory=None):
    """Value, gradient and new memory; features of an "image" are the image itself."""
    references = References(styles=tuple(map(jnp.asarray, styles)),
                            content_map=None if content_map is None else jnp.asarray(content_map),
                            style_maps=tuple(map(jnp.asarray, style_maps)))

    @jax.jit
    def evaluate(term, references, memory, x):
        target = term.target(references, lambda image, layers: {layer: image for layer in layers})
        memory = term.memory(target) if memory is None else memory
        return jax.value_and_grad(lambda x: term.loss(x, {"a": x}, target, memory), has_aux=True)(x)

    with fast_to_compile():
        (value, after), gradient = evaluate(term, references, memory, jnp.asarray(features))
    return value, gradient, after


def one_layer(**fields) -> Patches:
    return Patches(**{"layers": ("a",), "layer_weights": (1.0,), **fields})


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


@pytest.mark.parametrize(("shape", "size", "stride"), [((6, 5), 3, 1), ((3, 3), 3, 1), ((4, 3), 3, 1),
                                                      ((5, 2), 2, 1), ((2, 3), 1, 1), ((8, 7), 3, 2),
                                                      ((9, 4), 3, 3)])
def test_coverage_counts_patches(shape, size, stride):
    expected = np.zeros(shape, int)
    for (i, j), _ in patches_of(np.zeros(shape), size, stride):
        expected[i : i + size, j : j + size] += 1
    np.testing.assert_array_equal(coverage(*shape, size, stride), expected)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("anchor", [0.0, 0.3, 1.0])
def test_an_anchor_matches_a_mixture_with_the_photo(anchor):
    features, styles, *_ = given(seed=12)
    photo = np.abs(np.random.default_rng(3).normal(size=features.shape))
    term = one_layer(anchor=anchor, normalization="paper")
    style_patches = [q for style in styles for _, q in patches_of(style, 3)]
    expected = 0.0
    for (i, j), p in patches_of(features, 3):
        mixed = (1 - anchor) * p + anchor * photo[i : i + 3, j : j + 3]
        best = max(style_patches, key=lambda q: np.sum(mixed * q) / np.linalg.norm(q))
        expected += np.sum((p - best) ** 2)
    references = References(content=jnp.asarray(photo), styles=tuple(map(jnp.asarray, styles)))
    target = term.target(references, lambda image, layers: {layer: image for layer in layers})
    value, _ = term.loss(jnp.zeros(()), {"a": jnp.asarray(features)}, target, term.memory(target))
    np.testing.assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_zero_vectors_score_zero():
    ones = (jnp.ones(()), jnp.ones(()))
    key = matching_key(jnp.zeros((2, 2, 3)), jnp.zeros((2, 2, 1)), 10.0, "neural-doodle", ones)
    assert not np.any(key) and not np.any(unit(jnp.zeros((2, 2, 3))))


def test_maps_are_pooled_as_a_network_pools():
    semantic = RNG.uniform(size=(17, 12, 2)).astype(np.float32)
    blocks = semantic[:16].reshape(4, 4, 3, 4, 2).mean((1, 3))
    np.testing.assert_allclose(pooled(jnp.asarray(semantic), 4, 3), blocks, rtol=1e-6)
    assert pooled(jnp.asarray(semantic), 5, 3).shape == (5, 3, 2)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("degrees", [-30.0, 0.0, 7.5])
def test_rotation_is_bilinear_counter_clockwise_and_without_empty_corners(degrees):
    image = RNG.uniform(0.5, 1, (24, 31, 2))
    found = np.asarray(rotated(jnp.asarray(image), degrees))
    height, width = upright_part(24, 31, degrees)
    assert found.shape == (height, width, 2) and found.min() >= 0.5
    angle = np.radians(degrees)
    for i in range(0, height, 3):
        for j in range(0, width, 4):
            y, x = i - (height - 1) / 2, j - (width - 1) / 2
            # A point up on the right of the picture came from further clockwise.
            r = 11.5 + np.cos(angle) * y + np.sin(angle) * x
            c = 15.0 + np.cos(angle) * x - np.sin(angle) * y
            r0, c0 = min(int(r), 22), min(int(c), 29)
            a, b = r - r0, c - c0
            expected = ((1 - a) * (1 - b) * image[r0, c0] + (1 - a) * b * image[r0, c0 + 1]
                        + a * (1 - b) * image[r0 + 1, c0] + a * b * image[r0 + 1, c0 + 1])
            np.testing.assert_allclose(found[i, j], expected, rtol=1e-9)


@pytest.mark.parametrize(("fields", "message"), [
    ({"stride": 0}, "stride of patches is a whole number of at least 1"),
    ({"rotations": -1}, "rotations of patches is a whole number of at least 0"),
    ({"rotations": 6}, "at most 40°"),
    ({"scales": 1.5}, "scales of patches"),
    ({"scale_step": 0.0}, "scale_step"),
    ({"matching": "best"}, "patch matching 'best' is not one of"),
    ({"layers": ("a", "b")}, "2 layers"),
])
def test_impossible_settings_are_refused(fields, message):
    with pytest.raises(JaxstyleError, match=message):
        one_layer(**fields)


def test_pictures_that_are_too_small_are_refused():
    with pytest.raises(JaxstyleError, match="style image is too small"):
        evaluated(one_layer(), np.zeros((5, 5, 1)), [np.zeros((2, 9, 1))])
    with pytest.raises(JaxstyleError, match="the image is too small"):
        evaluated(one_layer(), np.zeros((5, 2, 1)), [np.zeros((9, 9, 1))])
    with pytest.raises(JaxstyleError, match="too narrow to be rotated"):
        evaluated(one_layer(rotations=1, rotation_step=40.0), np.zeros((9, 9, 1)), [np.zeros((4, 40, 1))])
    with pytest.raises(JaxstyleError, match="at least one style"):
        evaluated(one_layer(), np.zeros((5, 5, 1)), [])


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


@pytest.mark.parametrize("variety", [None, 0.2])
def test_a_painting_is_laid_out_anew_from_maps_alone(network, references, variety):
    semantic = np.zeros((32, 24, 3), np.float32)
    semantic[:16, :, 0], semantic[16:, :, 1] = 1, 1
    style_map = np.zeros((36, 32, 3), np.float32)
    style_map[:, :16, 0], style_map[:, 16:, 1] = 1, 1
    term = Patches(layers=("relu2_1", "relu3_1"), gamma=10.0, variety=variety)
    recipe = Recipe(terms={"style": term}, solver=ArmijoLbfgs(), start=Start(noise=1.0),
                    stages=(Stage(size=32, steps=8),))
    given = References(styles=references.styles, content_map=semantic, style_maps=(style_map,))
    with fast_to_compile():
        values = [float(snapshot.search.best.value) for snapshot in stylize_iter(network, given, recipe)]
    assert values[-1] < 0.7 * values[0]
