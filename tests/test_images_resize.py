"""Resizing, against the definition of resampling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstyle.errors import JaxstyleError
from jaxstyle.images import files as images

RNG = np.random.default_rng(0)
IMAGE = RNG.random((12, 17, 3)).astype(np.float32)


def lanczos(x):
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


def cubic(x):  # Keys 1981, a = -1/2
    x = np.abs(x)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def triangle(x):
    return np.maximum(1 - np.abs(x), 0)


KERNELS = {"lanczos3": lanczos, "cubic": cubic, "linear": triangle}


def resampled(image, height, width, kernel):
    """Sample by sample, from the definition: pixel centres, kernel widened when reducing,
    normalised."""

    def line(samples, count):
        scale = len(samples) / count
        rows = []
        for i in range(count):
            distance = (np.arange(len(samples)) + 0.5 - (i + 0.5) * scale) / max(scale, 1.0)
            weights = kernel(distance)
            rows.append(np.tensordot(weights / weights.sum(), samples, 1))
        return np.stack(rows)

    half = line(np.asarray(image, np.float64), height)
    return line(half.swapaxes(0, 1), width).swapaxes(0, 1)


@pytest.mark.parametrize("method", KERNELS)
@pytest.mark.parametrize("shape", [(5, 7), (24, 34), (9, 31), (12, 17), (1, 1)])
def test_resize_against_the_definition(method, shape):
    ours = images.resize_to(IMAGE, *shape, method=method, clip=False)
    expected = resampled(IMAGE, *shape, KERNELS[method])
    np.testing.assert_allclose(ours, expected, atol=2e-5)
    clipped = images.resize_to(IMAGE, *shape, method=method)
    np.testing.assert_allclose(clipped, np.clip(expected, 0, 1), atol=2e-5)
    assert ours.dtype == jnp.float32


def test_nearest_and_lanczos5():
    checks = np.indices((4, 6)).sum(0) % 2.0
    enlarged = images.resize_to(checks, 8, 12, method="nearest")
    np.testing.assert_array_equal(enlarged, checks.repeat(2, 0).repeat(2, 1))
    reduced = images.resize_to(IMAGE, 6, 9, method="lanczos5", clip=False)

    def lanczos5(x):
        return np.where(np.abs(x) < 5, np.sinc(x) * np.sinc(x / 5), 0.0)

    np.testing.assert_allclose(reduced, resampled(IMAGE, 6, 9, lanczos5), atol=2e-5)


@pytest.mark.parametrize("method", ["lanczos3", "lanczos5", "cubic", "linear", "nearest"])
@pytest.mark.parametrize("shape", [(5, 3), (40, 50), (1, 64)])
def test_constant_stays_constant(method, shape):
    image = np.full((16, 20, 3), 0.3, np.float32)
    np.testing.assert_allclose(images.resize_to(image, *shape, method=method), 0.3, atol=1e-6)


def test_same_shape_is_the_same_image():
    np.testing.assert_array_equal(images.resize_to(IMAGE, 12, 17), IMAGE)
    beyond = IMAGE * 3 - 1
    np.testing.assert_array_equal(images.resize_to(beyond, 12, 17, clip=False), beyond)


def test_resize_under_jit_vmap_and_grad():
    batch = jnp.asarray(RNG.random((3, 12, 17, 3)), jnp.float32)
    one = [images.resize(image, 8) for image in batch]
    np.testing.assert_allclose(
        jax.vmap(lambda image: images.resize(image, 8))(batch), one, atol=1e-6
    )
    jitted = jax.jit(images.resize, static_argnames=("size", "by", "method", "clip"))
    np.testing.assert_allclose(jitted(batch[0], size=8), one[0], atol=1e-6)
    gradient = jax.grad(lambda image: images.resize(image, 8, clip=False).sum())(batch[0])
    assert gradient.shape == (12, 17, 3) and np.isfinite(gradient).all()
    # A constant adds as much as it does to every pixel of the result.
    np.testing.assert_allclose(gradient.sum(), 8 * 6 * 3, rtol=1e-5)


def test_reduction_is_antialiased():
    stripes = np.tile([0.0, 1.0], 64)[None, :, None].repeat(32, 0).repeat(3, 2)
    reduced = np.asarray(images.resize(stripes, 32))
    assert np.abs(reduced[:, 4:-4] - 0.5).max() < 0.02


@pytest.mark.parametrize(
    "shape, size, by, expected",
    [
        ((600, 800), 400, "longer", (300, 400)),
        ((800, 600), 400, "longer", (400, 300)),
        ((600, 800), 300, "shorter", (300, 400)),
        ((600, 800), 512, "area", (443, 591)),
        ((3, 2), 1, "longer", (1, 1)),
        ((1, 5000), 100, "longer", (1, 100)),
        ((5000, 1), 2, "area", (141, 1)),
        ((333, 1000), 500, "longer", (167, 500)),
        ((7, 7), 13, "area", (13, 13)),
    ],
)
def test_fit_shape(shape, size, by, expected):
    assert images.fit_shape(*shape, size, by) == expected


def test_fit_shape_properties():
    for height, width, size in RNG.integers(1, 3000, (300, 3)).tolist():
        longer, shorter = (
            images.fit_shape(height, width, size, by) for by in ("longer", "shorter")
        )
        assert max(longer) == size and min(shorter) == size
        turned = images.fit_shape(width, height, size, "area")
        area = images.fit_shape(height, width, size, "area")
        assert area == turned[::-1]
        if min(area) > 20:
            assert abs(area[0] * area[1] / size**2 - 1) < 0.03
            assert abs(area[0] / area[1] / (height / width) - 1) < 0.06


def test_resize_takes_channels_as_they_are():
    assert images.resize(IMAGE[..., 0], 8).shape == (6, 8)
    assert images.resize(np.zeros((8, 4, 5)), 2, by="shorter").shape == (4, 2, 5)
    assert images.resize(IMAGE, 10, by="area").shape == (8, 12, 3)


def test_bad_resize():
    for call, match in [
        (lambda: images.resize(IMAGE, 0), "at least 1 pixel"),
        (lambda: images.resize(IMAGE, 8, by="width"), "use longer, shorter or area"),
        (lambda: images.resize(IMAGE, 8, method="bicubic"), "use one of lanczos3"),
        (lambda: images.resize_to(IMAGE, 0, 5), "at least 1 pixel"),
        (lambda: images.resize_to(IMAGE[None], 5, 5), r"give \[H, W\] or \[H, W, C\]"),
        (lambda: images.resize(np.zeros((0, 5, 3)), 5), "at least 1 pixel"),
    ]:
        with pytest.raises(JaxstyleError, match=match):
            call()
