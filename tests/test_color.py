"""Colour spaces, luminance transfer and covariance matching against NumPy and SciPy in float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jaxstyle.errors import JaxstyleError
from jaxstyle.ops.colors import spaces as color

pytestmark = pytest.mark.usefixtures("x64")

RNG = np.random.default_rng(0)
MIX = RNG.normal(size=(3, 3)) / 8
PHOTO = np.clip(0.5 + RNG.normal(size=(9, 13, 3)) @ MIX, 0.02, 0.98)
PAINTING = np.clip(0.4 + RNG.normal(size=(11, 7, 3)) @ MIX.T, 0.02, 0.98)


def oklab_by_hand(rgb: np.ndarray) -> np.ndarray:
    """One colour, as Ottosson's C++ writes it."""
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb)
    l = np.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b)  # noqa: E741
    m = np.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b)
    s = np.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b)
    return np.array([0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s,
                     1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
                     0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s])


def test_oklab_equals_the_published_program():
    expected = np.array([[oklab_by_hand(colour) for colour in row] for row in PHOTO])
    np.testing.assert_allclose(color.rgb_to_oklab(jnp.asarray(PHOTO)), expected, rtol=1e-12, atol=1e-12)


def test_oklab_of_white_black_and_red():
    lab = color.rgb_to_oklab(jnp.asarray([[1.0, 1, 1], [0, 0, 0], [1, 0, 0]]))
    expected = [[1, 0, 0], [0, 0, 0], [0.62796, 0.22486, 0.12585]]
    np.testing.assert_allclose(lab, expected, atol=2e-4)


@pytest.mark.parametrize("space", color.SPACES)
def test_split_and_join_are_inverse(space):
    back = color.join(*color.split(jnp.asarray(PHOTO), space), space)
    np.testing.assert_allclose(back, PHOTO, atol=1e-6)


def test_luma_is_that_of_yiq():
    lightness, _ = color.split(jnp.asarray(PHOTO), "yiq")
    expected = PHOTO[..., 0] * 0.299 + PHOTO[..., 1] * 0.587 + PHOTO[..., 2] * 0.114
    np.testing.assert_allclose(lightness[..., 0], expected, rtol=1e-12)


@pytest.mark.parametrize("space", color.SPACES)
def test_kept_colours_have_the_images_lightness_even_where_srgb_ends(space):
    vivid = np.clip(PHOTO * 2 - 0.5, 0, 1)  # many colours at the border of the gamut
    result = color.with_colours_of(jnp.asarray(PAINTING[:9, :7]), jnp.asarray(vivid[:, :7]), space)
    assert float(result.min()) >= 0 and float(result.max()) <= 1
    ours, _ = color.split(result, space)
    wanted, _ = color.split(jnp.asarray(PAINTING[:9, :7]), space)
    np.testing.assert_allclose(ours, wanted, atol=2e-3)


@pytest.mark.parametrize("space", color.SPACES)
def test_kept_colours_are_the_photos_where_they_fit(space):
    dull = jnp.asarray(0.5 + (PHOTO - 0.5) / 8)
    other = jnp.asarray(0.5 + (PHOTO[::-1] - 0.5) / 4)
    _, ours = color.split(color.with_colours_of(other, dull, space), space)
    _, wanted = color.split(dull, space)
    np.testing.assert_allclose(ours, wanted, atol=1e-6)


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("space", color.SPACES)
def test_shifted_luminance_has_the_contents_mean(space, spread):
    dim = PHOTO / 3 + 0.3
    grey = color.shifted_luminance(jnp.asarray(dim), jnp.asarray(PHOTO), space, spread)
    assert float(jnp.ptp(grey, axis=-1).max()) < 1e-6
    ours, theirs = color.split(grey, space)[0], color.split(jnp.asarray(PHOTO), space)[0]
    np.testing.assert_allclose(ours.mean(), theirs.mean(), atol=0.01)
    if spread:
        np.testing.assert_allclose(ours.std(), theirs.std(), rtol=0.05)


def reference_map(source: np.ndarray, target: np.ndarray, method: str) -> np.ndarray:
    root = lambda a: np.real(scipy.linalg.sqrtm(a))  # noqa: E731
    s, c = (m + color.EPSILON * np.eye(3) for m in (source, target))
    if method == "cholesky":
        return np.linalg.cholesky(c) @ np.linalg.inv(np.linalg.cholesky(s))
    if method == "pca":
        return root(c) @ np.linalg.inv(root(s))
    inverse = np.linalg.inv(root(s))
    return inverse @ root(root(s) @ c @ root(s)) @ inverse


def covariance(image: np.ndarray) -> np.ndarray:
    return np.cov(np.asarray(image).reshape(-1, 3).T, bias=True)


@pytest.mark.parametrize("method", color.MATCHES)
def test_colour_map_equals_scipy(method):
    ours = color.colour_map(jnp.asarray(covariance(PAINTING)), jnp.asarray(covariance(PHOTO)), method)
    expected = reference_map(covariance(PAINTING), covariance(PHOTO), method)
    np.testing.assert_allclose(ours, expected, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("method", color.MATCHES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_match_reaches_mean_and_covariance(method, dtype):
    result = color.matched(jnp.asarray(PAINTING, dtype), jnp.asarray(PHOTO, dtype), method)
    assert result.dtype == dtype
    np.testing.assert_allclose(result.mean((0, 1)), PHOTO.mean((0, 1)), atol=1e-5)
    np.testing.assert_allclose(covariance(result), covariance(PHOTO), atol=1e-4)


def test_monge_kantorovich_moves_colours_least():
    moved = {method: float(jnp.square(color.matched(jnp.asarray(PAINTING), jnp.asarray(PHOTO), method)
                                      - PAINTING).mean()) for method in color.MATCHES}
    assert min(moved, key=moved.get) == "monge-kantorovich"


FLAT = np.full((6, 5, 3), 0.3)
GREY = np.repeat(RNG.random((6, 5, 1)), 3, axis=-1)
BLACK = np.zeros((6, 5, 3))


@pytest.mark.parametrize("method", color.MATCHES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("image", "photo"), [
    (FLAT, PHOTO), (PAINTING, FLAT), (GREY, PHOTO), (PAINTING, GREY), (GREY, GREY), (BLACK, BLACK),
    (FLAT, GREY)])
def test_degenerate_covariances_are_safe(image, photo, method, dtype):
    result = np.asarray(color.matched(jnp.asarray(image, dtype), jnp.asarray(photo, dtype), method))
    assert np.isfinite(result).all()
    np.testing.assert_allclose(result.mean((0, 1)), photo.mean((0, 1)), atol=1e-4)
    if photo is FLAT:
        np.testing.assert_allclose(result, photo[:1, :1] + 0 * result, atol=0.02)


@pytest.mark.parametrize("space", color.SPACES)
@pytest.mark.parametrize("photo", [FLAT, GREY, BLACK, 1 - BLACK])
def test_kept_colours_of_flat_and_grey_photos_are_finite(photo, space):
    result = color.with_colours_of(jnp.asarray(PAINTING[:6, :5]), jnp.asarray(photo), space)
    assert np.isfinite(np.asarray(result)).all()


def test_matching_and_keeping_work_under_vmap_and_jit():
    paintings = jnp.stack([PAINTING, PAINTING[::-1] ** 2])
    both = jax.jit(jax.vmap(lambda p: color.matched(p, jnp.asarray(PHOTO))))(paintings)
    alone = [color.matched(p, jnp.asarray(PHOTO)) for p in paintings]
    np.testing.assert_allclose(both, jnp.stack(alone), rtol=1e-9)
    photo = jnp.asarray(PHOTO[:9, :7])
    kept = jax.vmap(lambda p: color.with_colours_of(p[:9], photo))(paintings)
    np.testing.assert_allclose(kept[1], color.with_colours_of(paintings[1, :9], photo), atol=1e-12)


@pytest.mark.parametrize("call", [
    lambda: color.split(jnp.asarray(PHOTO), "cmyk"),
    lambda: color.join(jnp.ones((2, 2, 1)), jnp.ones((2, 2, 2)), "lab"),
    lambda: color.matched(jnp.asarray(PHOTO), jnp.asarray(PHOTO), "histogram"),
])
def test_unknown_names_are_refused_with_the_choices(call):
    with pytest.raises(JaxstyleError, match="is not one of"):
        call()
