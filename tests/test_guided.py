"""Regions, dreams and the distortion number: values against formulas in NumPy, gradients, invariances."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxstyle.errors import JaxstyleError
from jaxstyle.losses import gram_loss, gram_matrix
from jaxstyle.losses.dream import Dream, excitement
from jaxstyle.losses.guided import GuidedGram, guided_gram, guided_loss
from jaxstyle.metrics.distortion import changed_edges, distortion
from jaxstyle.ops.masks import feathered, guide, partition

pytestmark = pytest.mark.usefixtures("x64")

RNG = np.random.default_rng(0)
F, MASK = RNG.normal(size=(6, 8, 4)), RNG.random((6, 8))
STYLE = RNG.normal(size=(5, 5, 4))


def test_guide_has_unit_mean_square_and_empty_masks_stay_zero():
    np.testing.assert_allclose(jnp.sum(jnp.square(guide(jnp.asarray(MASK)))) / MASK.size, 1, rtol=1e-12)
    assert float(jnp.abs(guide(jnp.zeros((3, 3)))).max()) == 0


def test_guided_gram_equals_loops():
    g = MASK / np.sqrt((MASK**2).sum() / MASK.size)
    expected = np.zeros((4, 4))
    for i in range(6):
        for j in range(8):
            expected += np.outer(g[i, j] * F[i, j], g[i, j] * F[i, j])
    ours = guided_gram(jnp.asarray(F), jnp.asarray(MASK))
    np.testing.assert_allclose(ours, expected / MASK.size, rtol=1e-12)


def test_a_whole_mask_is_the_plain_gram_loss():
    target = gram_matrix(jnp.asarray(STYLE))
    ours = guided_loss(jnp.asarray(F), [jnp.ones((6, 8))], [target], "relative")
    np.testing.assert_allclose(ours, gram_loss(jnp.asarray(F), target, "relative"), rtol=1e-12)


def test_hard_regions_are_those_of_cut_out_pieces_weighted_by_area():
    left = np.zeros((6, 8))
    left[:, :3] = 1
    a, b = gram_matrix(jnp.asarray(STYLE)), gram_matrix(jnp.asarray(STYLE[:3] * 2))
    ours = guided_loss(jnp.asarray(F), [jnp.asarray(left), jnp.asarray(1 - left)], [a, b], "relative")
    expected = (3 / 8 * gram_loss(jnp.asarray(F[:, :3]), a, "relative")
                + 5 / 8 * gram_loss(jnp.asarray(F[:, 3:]), b, "relative"))
    np.testing.assert_allclose(ours, expected, rtol=1e-10)
    equal = guided_loss(jnp.asarray(F), [jnp.asarray(left)], [a], "relative", shares="equal")
    np.testing.assert_allclose(equal, gram_loss(jnp.asarray(F[:, :3]), a, "relative"), rtol=1e-10)


def test_gradient_stays_inside_its_region():
    left = np.zeros((6, 8))
    left[:, :3] = 1
    target = gram_matrix(jnp.asarray(STYLE))
    gradient = jax.grad(lambda f: guided_loss(f, [jnp.asarray(left)], [target], "paper"))(jnp.asarray(F))
    assert float(jnp.abs(gradient[:, 3:]).max()) == 0 and float(jnp.abs(gradient[:, :3]).min()) > 0


def test_empty_region_costs_nothing_and_has_no_gradient():
    target = gram_matrix(jnp.asarray(STYLE))
    for shares in ("area", "equal"):
        value, gradient = jax.value_and_grad(
            lambda f, s=shares: guided_loss(f, [jnp.zeros((6, 8))], [target], "relative", s))(jnp.asarray(F))
        assert float(value) == 0 and float(jnp.abs(gradient).max()) == 0


def test_guided_loss_gradients():
    target = gram_matrix(jnp.asarray(STYLE))
    check_grads(lambda f: guided_loss(f, [jnp.asarray(MASK)], [target], "relative"), (jnp.asarray(F),), 1,
                modes=["rev"])


def test_partition_and_feathers():
    a, b = jnp.asarray(RNG.random((5, 7))), jnp.ones((5, 7)) * 0.7
    shares, rest = partition([a, b])
    np.testing.assert_allclose(sum(shares) + rest, 1, atol=1e-12)
    assert float(rest.min()) >= 0
    np.testing.assert_allclose(shares[0] * b, shares[1] * a, atol=1e-12)
    step = np.zeros((20, 30))
    step[:, 15:] = 1
    soft = feathered(jnp.asarray(step), 2.0)
    assert np.all(np.diff(np.asarray(soft), axis=1) >= -1e-12)
    np.testing.assert_allclose(soft[:, 14:16].mean(), 0.5, atol=1e-9)
    np.testing.assert_allclose(soft[:, 0], 0, atol=1e-9)
    bell = np.exp(-np.arange(-6, 7) ** 2 / 8)
    np.testing.assert_allclose(soft[10, 16], bell[:8].sum() / bell.sum(), rtol=1e-9)
    np.testing.assert_array_equal(feathered(jnp.asarray(step), 0), step)


def test_excitement_is_one_at_the_photo_and_bounded():
    calm = float(np.mean(F**2))
    np.testing.assert_allclose(excitement(jnp.asarray(F), calm, 100.0), -100 / 101, rtol=1e-12)
    huge = [float(excitement(jnp.asarray(F) * scale, calm, 100.0)) for scale in (1, 10, 1e3, 1e6, 1e12)]
    assert huge == sorted(huge, reverse=True) and huge[-1] >= -100
    check_grads(lambda f: excitement(f, calm, 100.0, 1.5), (jnp.asarray(F),), 1, modes=["rev"])
    gradient = jax.grad(lambda f: excitement(f, calm))(jnp.asarray(F) * 1e6)
    assert np.isfinite(np.asarray(gradient)).all()


def test_excitement_without_bounds_is_the_mean_square():
    calm = float(np.mean(F**2))
    ours = excitement(jnp.asarray(2 * F), calm, 1e9, 1e9)
    np.testing.assert_allclose(ours, -4, rtol=1e-6)


def test_excitement_of_a_silent_layer_is_finite():
    value, gradient = jax.value_and_grad(lambda f: excitement(f, 0.0))(jnp.zeros((3, 3, 2)))
    assert np.isfinite(float(value)) and np.isfinite(np.asarray(gradient)).all()


def test_distortion_is_blind_to_contrast_and_sign_and_sees_other_drawings():
    photo, other = (jnp.asarray(np.random.default_rng(k).random((24, 32))) for k in (1, 2))
    assert float(changed_edges(0.3 * photo + 0.2, photo)) < 1e-9
    assert float(changed_edges(1 - photo, photo)) < 1e-9
    assert float(changed_edges(other, photo)) > 0.4
    picture = jnp.stack([photo] * 3, -1)
    assert float(distortion(picture, picture)) < 1e-9
    assert float(distortion(jnp.stack([other] * 3, -1), picture)) > 0.4


def test_distortion_grows_with_displacement():
    y, x = np.mgrid[:64, :64]
    found = []
    for shift in (0, 1, 2, 4):
        bars = lambda at: np.tile(0.5 + 0.5 * np.tanh(4 * np.sin((x + at) / 5)), (1, 1)) + 0 * y  # noqa: E731
        found.append(float(changed_edges(jnp.asarray(bars(shift)), jnp.asarray(bars(0)))))
    assert found == sorted(found) and found[0] < 1e-9 < found[1]


def test_slopes_are_sobels():
    import scipy.ndimage
    photo = np.random.default_rng(1).random((8, 9))
    from jaxstyle.metrics.distortion import slopes
    right, down = slopes(jnp.asarray(photo))
    np.testing.assert_allclose(right, scipy.ndimage.sobel(photo, 1)[1:-1, 1:-1] / 8, atol=1e-12)
    np.testing.assert_allclose(down, scipy.ndimage.sobel(photo, 0)[1:-1, 1:-1] / 8, atol=1e-12)


def test_flat_pictures_are_not_distorted():
    flat = jnp.full((16, 16, 3), 0.4)
    assert float(distortion(flat, flat)) == 0
    assert np.isfinite(float(distortion(flat, jnp.asarray(RNG.random((16, 16, 3))))))


@pytest.mark.parametrize("make", [
    lambda: GuidedGram(normalization="sum"), lambda: GuidedGram(shares="half"),
    lambda: GuidedGram(layers=("relu1_1",)), lambda: Dream(layers=("relu1_1", "relu2_1"))])
def test_terms_refuse_bad_fields(make):
    with pytest.raises(JaxstyleError):
        make()
