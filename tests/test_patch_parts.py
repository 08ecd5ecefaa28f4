"""Parts of the patch term: coverage, keys, pooled maps, copies, the anchor, refusals, and whole runs."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from patch_loops import evaluated, given, one_layer, patches_of
from tiny import fast_to_compile

from jaxstyle.errors import JaxstyleError
from jaxstyle.losses import Patches
from jaxstyle.losses.patches.copies import rotated, upright_part
from jaxstyle.losses.patches.energy import coverage
from jaxstyle.losses.patches.matching import matching_key, unit
from jaxstyle.ops.masks import pooled
from jaxstyle.references import References
from jaxstyle.solvers import ArmijoLbfgs
from jaxstyle.transfer.inputs import check_maps, sized
from jaxstyle.transfer.loop import stylize_iter
from jaxstyle.transfer.recipe import Recipe, Stage, Start

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("shape", "size", "stride"), [((6, 5), 3, 1), ((3, 3), 3, 1), ((4, 3), 3, 1),
                                                      ((5, 2), 2, 1), ((2, 3), 1, 1), ((8, 7), 3, 2),
                                                      ((9, 4), 3, 3)])
def test_coverage_counts_patches(shape, size, stride):
    expected = np.zeros(shape, int)
    for (i, j), _ in patches_of(np.zeros(shape), size, stride):
        expected[i : i + size, j : j + size] += 1
    np.testing.assert_array_equal(coverage(*shape, size, stride), expected)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("anchor", [0.3, 1.0])
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
    value = evaluated(term, features, styles, content=photo)[0]
    np.testing.assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.parametrize(("guided", "always", "anchored"), [
    (False, False, True), (False, True, True), (True, False, False), (True, True, True)])
def test_an_anchor_counts_with_maps_only_if_asked(guided, always, anchored):
    picture = jnp.asarray(RNG.uniform(size=(6, 7, 3)))
    term = Patches(layers=("relu1_1",), layer_weights=(1.0,), anchor=0.5, anchor_with_maps=always)
    maps = {"content_map": picture[..., :1], "style_maps": (picture[..., :1],)} if guided else {}
    target = term.target(References(content=picture, styles=(picture,), **maps),
                         lambda image, layers: {layer: image for layer in layers})
    assert (target["relu1_1"]["photo"] is not None) == anchored


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
