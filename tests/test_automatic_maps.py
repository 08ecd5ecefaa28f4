"""Automatic maps: labels correspond between pictures, are seeded and smooth, and occur in every picture."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import fast_to_compile

from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import random_weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.maps import labels_of
from jaxstyle.pytrees import replace
from jaxstyle.runs.maps import UNDRAWN, for_automatic_maps
from jaxstyle.transfer.automatic_maps import (
    automatic_maps,
    blurred,
    distances,
    k_means,
    label_colours,
    outlined,
    painted,
    preview,
    shared_labels,
)
from jaxstyle.transfer.presets import PATCHES

DEEP = VGG(blocks=((4,), (4,), (8,), (8, 8), (8,)), border="reflect")


def picture(seed, sky_above=True, size=(48, 64)):
    """A smooth bright blue half and a rough dark green one."""
    rng = np.random.default_rng(seed)
    image = np.zeros((*size, 3), np.float32)
    image[: size[0] // 2] = [0.5, 0.7, 1.0]
    grain = rng.normal(0, 0.12, (size[0] - size[0] // 2, size[1], 1))
    image[size[0] // 2 :] = np.clip(np.array([0.1, 0.35, 0.05]) + grain, 0, 1)
    return image if sky_above else image[::-1].copy()


@pytest.fixture(autouse=True)
def quick():
    with fast_to_compile():
        yield


def test_k_means_finds_separate_heaps_whatever_the_seed():
    rng = np.random.default_rng(0)
    heaps = np.array([[0, 0], [10, 0], [0, 10.0]])
    points = (heaps[:, None] + rng.normal(0, 0.5, (3, 60, 2))).reshape(-1, 2)
    for seed in range(3):
        centres = k_means(points, 3, seed)
        assert np.sort(distances(heaps, centres).min(1)).max() < 0.1
        np.testing.assert_array_equal(centres, k_means(points, 3, seed))
    assert len(k_means(np.zeros((5, 2)), 3, 0)) == 1, "equal points are one heap"


def test_the_same_kind_of_thing_has_the_same_label_in_both_pictures():
    images = [picture(0), picture(1, size=(40, 56))]
    weights = random_weights(seed=2, network=DEEP)
    one, other = automatic_maps(weights, images, count=2, seed=0)
    assert one.shape == (48, 64) and other.shape == (40, 56)
    assert one[2, 5] == other[2, 5] and one[-3, 5] == other[-3, 5] and one[2, 5] != one[-3, 5]
    assert np.mean(one[:20] == one[2, 5]) > 0.9 and np.mean(one[28:] == one[-3, 5]) > 0.9
    again = automatic_maps(weights, images, count=2, seed=0)
    np.testing.assert_array_equal(one, again[0])


def test_labels_that_a_picture_lacks_are_dissolved():
    common = np.zeros((10, 10, 3))
    common[:5, :, 1], common[5:, :, 0] = 1, 1  # label 0 above, 1 below
    common[..., 2] = 2
    lonely = common.copy()
    lonely[0, :, 2] = -1  # a row of label 2 that the other has not
    found, left = shared_labels([common, lonely])
    assert left == 2 and set(np.unique(found[1])) == {0, 1} and np.all(found[1][0] == 0)


def test_blur_keeps_the_mean_of_a_constant_and_spreads_a_point():
    np.testing.assert_allclose(blurred(np.full((6, 7, 2), 3.0), 1.5), 3.0)
    point = np.zeros((15, 15, 1))
    point[7, 7] = 1
    spread = blurred(point, 1.0)[..., 0]
    np.testing.assert_allclose(spread.sum(), 1, rtol=1e-12)
    np.testing.assert_allclose(spread[7, 8] / spread[7, 7], np.exp(-0.5), rtol=1e-9)


def test_painted_maps_are_read_back_as_as_many_labels():
    numbers = np.arange(12).repeat(40).reshape(12, 40).astype(int)
    labels = labels_of(painted(numbers))
    assert len(labels) == 12 and len({label.name for label in labels}) == 12
    colours = label_colours(12)
    apart = np.abs(colours[:, None] - colours[None]).max(-1) + np.eye(12)
    assert apart.min() > 24 / 255


def test_previews_show_outlines():
    numbers = np.zeros((20, 30), int)
    numbers[:, 15:] = 1
    image = np.full((20, 30, 3), 0.2, np.float32)
    drawn = outlined(image, numbers)
    assert drawn[10, 15].min() > 0.8 and drawn[10, 5].max() < 0.5
    assert preview([image, image], [numbers, numbers], height=40).shape == (40, 60 + 8 + 60, 3)


def test_impossible_wishes_are_refused():
    weights = random_weights(seed=2, network=DEEP)
    with pytest.raises(JaxstyleError, match="at least 2 labels, not 1"):
        automatic_maps(weights, [picture(0)], count=1)


def test_patches_trust_automatic_maps_less_than_drawn_ones():
    recipe = replace(PATCHES, {"terms.style.gamma": 2.0})
    given = for_automatic_maps(recipe)
    assert given.terms["style"].gamma == pytest.approx(2 * UNDRAWN) and given.terms["style"].anchor_with_maps
    assert replace(given, {"terms.style.gamma": 2.0, "terms.style.anchor_with_maps": False}) == recipe
