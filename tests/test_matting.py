"""The matting term against Levin's sparse Laplacian, guided filter and screened Poisson against solves."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
from jax.test_util import check_grads

from jaxstyle.errors import JaxstyleError
from jaxstyle.losses.matting import Matting, matting_energy
from jaxstyle.ops.local_affine import factorised, guided_filter
from jaxstyle.ops.poisson import screen_for
from jaxstyle.ops.poisson import screened_poisson as poisson
from jaxstyle.references import References

pytestmark = pytest.mark.usefixtures("x64")

RNG = np.random.default_rng(0)
PHOTO, RESULT = RNG.random((7, 9, 3)), RNG.random((7, 9, 3))


def levin(image: np.ndarray, epsilon: float, radius: int = 1) -> scipy.sparse.csr_matrix:
    """Equation 12 of Levin, Lischinski & Weiss 2006 (colour), as a sparse matrix, window by window."""
    height, width, _ = image.shape
    index = np.arange(height * width).reshape(height, width)
    count = (2 * radius + 1) ** 2
    rows, columns, values = [], [], []
    for i in range(radius, height - radius):
        for j in range(radius, width - radius):
            window = np.s_[i - radius : i + radius + 1, j - radius : j + radius + 1]
            pixels, colours = index[window].ravel(), image[window].reshape(-1, 3)
            away = colours - colours.mean(0)
            covariance = away.T @ away / count
            inner = np.linalg.inv(covariance + epsilon / count * np.eye(3))
            block = np.eye(count) - (1 + away @ inner @ away.T) / count
            rows.append(np.repeat(pixels, count))
            columns.append(np.tile(pixels, count))
            values.append(block.ravel())
    shape = (height * width,) * 2
    where = np.concatenate(rows), np.concatenate(columns)
    return scipy.sparse.csr_matrix((np.concatenate(values), where), shape)


@pytest.mark.parametrize(("epsilon", "size"), [(1e-7, 3), (1e-3, 3), (1e-5, 5)])
def test_energy_and_gradient_equal_the_sparse_laplacian(epsilon, size):
    matrix = levin(PHOTO, epsilon, size // 2)
    flat = RESULT.reshape(-1, 3)
    guide = jnp.asarray(PHOTO)
    factor = jax.jit(factorised, static_argnums=2)(guide, epsilon, size)
    energy = jax.jit(jax.value_and_grad(matting_energy), static_argnums=4)
    value, gradient = energy(jnp.asarray(RESULT), guide, factor, epsilon, size)
    np.testing.assert_allclose(value, np.sum(flat * (matrix @ flat)), rtol=1e-10)
    np.testing.assert_allclose(gradient.reshape(-1, 3), 2 * (matrix @ flat), rtol=1e-8, atol=1e-10)


def test_gradient_against_finite_differences():
    guide = jnp.asarray(PHOTO)
    energy = jax.jit(lambda x: matting_energy(x, guide, factorised(guide, 1e-5), 1e-5))
    check_grads(energy, (jnp.asarray(RESULT),), 1, modes=["rev"])


@pytest.mark.parametrize("normalization", ["paper", "mean"])
def test_photos_in_other_colours_cost_nothing_and_noise_does(normalization):
    recoloured = PHOTO @ RNG.random((3, 3)) + 0.1
    term = Matting(normalization=normalization)
    target = term.target(References(content=jnp.asarray(PHOTO)))
    cheap, dear = (float(term.loss(jnp.asarray(x), {}, target)) for x in (recoloured, RESULT))
    assert 0 <= cheap < 1e-5 * dear


def test_float32_agrees_where_the_photo_is_flat():
    flat = PHOTO.copy()
    flat[:, :5] = 0.3
    flat[2, 2] += 1 / 255
    values = []
    for dtype in (np.float32, np.float64):
        guide = jnp.asarray(flat, dtype)
        energy = jax.jit(lambda x, photo: matting_energy(x, photo, factorised(photo, 1e-7), 1e-7))
        values.append(float(energy(jnp.asarray(RESULT, dtype), guide)))
    assert np.isfinite(values).all()
    np.testing.assert_allclose(values[0], values[1], rtol=1e-2)


def test_mean_normalization_does_not_depend_on_size():
    term, found = Matting(normalization="mean"), []
    for size in (24, 48):
        photo, image = (jnp.asarray(np.random.default_rng(k).random((size, size, 3))) for k in (1, 2))
        loss = jax.jit(lambda x, p: term.loss(x, {}, term.target(References(content=p))))
        found.append(float(loss(image, photo)))
    np.testing.assert_allclose(found[0], found[1], rtol=0.15)


def test_matting_under_vmap():
    guides = jnp.stack([PHOTO, PHOTO[::-1]])
    @jax.jit
    def energy(guide):
        return matting_energy(jnp.asarray(RESULT), guide, factorised(guide, 1e-5), 1e-5)

    np.testing.assert_allclose(jax.vmap(energy)(guides), [energy(g) for g in guides], rtol=1e-10)


@pytest.mark.parametrize(("term", "references", "said"), [
    (lambda: Matting(), References(), "needs a content image"),
    (lambda: Matting(), References(content=np.zeros((2, 9, 3))), "too small"),
    (lambda: Matting(size=1), References(content=PHOTO), "at least 2"),
    (lambda: Matting(normalization="sum"), References(content=PHOTO), "is not one of"),
])
def test_what_matting_refuses(term, references, said):
    with pytest.raises(JaxstyleError, match=said):
        term().target(references)


def guided_by_loops(image: np.ndarray, guide: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    pads = ((radius, radius), (radius, radius), (0, 0))
    p, colours = np.pad(image, pads, mode="reflect"), np.pad(guide, pads, mode="reflect")
    height, width, channels = image.shape
    slopes, offsets = np.zeros((height, width, 3, channels)), np.zeros((height, width, channels))
    for i in range(height):
        for j in range(width):
            window = np.s_[i : i + 2 * radius + 1, j : j + 2 * radius + 1]
            x, y = colours[window].reshape(-1, 3), p[window].reshape(-1, channels)
            covariance = np.cov(x.T, bias=True) + epsilon * np.eye(3)
            cross = (x - x.mean(0)).T @ (y - y.mean(0)) / len(x)
            slopes[i, j] = np.linalg.solve(covariance, cross)
            offsets[i, j] = y.mean(0) - x.mean(0) @ slopes[i, j]
    result = np.zeros_like(image)
    slopes = np.pad(slopes, (*pads, (0, 0)), mode="reflect")
    offsets = np.pad(offsets, pads, mode="reflect")
    for i in range(height):
        for j in range(width):
            window = np.s_[i : i + 2 * radius + 1, j : j + 2 * radius + 1]
            result[i, j] = guide[i, j] @ slopes[window].mean((0, 1)) + offsets[window].mean((0, 1))
    return result


@pytest.mark.parametrize(("radius", "epsilon"), [(1, 1e-2), (2, 1e-3)])
def test_guided_filter_equals_loops(radius, epsilon):
    ours = jax.jit(guided_filter, static_argnums=2)(jnp.asarray(RESULT), jnp.asarray(PHOTO), radius, epsilon)
    np.testing.assert_allclose(ours, guided_by_loops(RESULT, PHOTO, radius, epsilon), rtol=1e-8, atol=1e-10)


def test_guided_filter_of_a_small_image_and_in_float32():
    tiny = jnp.asarray(RESULT[:2, :3], jnp.float32)
    photo = jnp.asarray(PHOTO[:2, :3], jnp.float32)
    assert np.isfinite(np.asarray(jax.jit(guided_filter, static_argnums=2)(tiny, photo, 7, 1e-2))).all()
    flat = jax.jit(guided_filter, static_argnums=2)(jnp.asarray(RESULT), jnp.full((7, 9, 3), 0.5), 2, 1e-2)
    assert float(flat.std()) < float(RESULT.std()) / 3


def grid_laplacian(height: int, width: int) -> scipy.sparse.csr_matrix:
    def along(n):
        d = scipy.sparse.diags([-np.ones(n - 1), np.ones(n - 1)], [0, 1], (n - 1, n))
        return d.T @ d
    return scipy.sparse.kron(along(height), scipy.sparse.eye(width)) + scipy.sparse.kron(
        scipy.sparse.eye(height), along(width))


@pytest.mark.parametrize("screen", [1e-3, 0.5, 20.0])
def test_screened_poisson_equals_a_sparse_solve(screen):
    laplacian = grid_laplacian(7, 9)
    system = (laplacian + screen * scipy.sparse.eye(63)).tocsc()
    right = screen * RESULT.reshape(-1, 3) + laplacian @ PHOTO.reshape(-1, 3)
    expected = scipy.sparse.linalg.spsolve(system, right).reshape(7, 9, 3)
    ours = jax.jit(poisson)(jnp.asarray(RESULT), jnp.asarray(PHOTO), screen)
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-10)


def test_amounts_of_gradients():
    result, photo = jnp.asarray(RESULT), jnp.asarray(PHOTO)
    screened_poisson = jax.jit(poisson)
    none = screened_poisson(result, photo, screen_for(0.0, 9))
    np.testing.assert_allclose(none, RESULT, atol=1e-6)
    whole = screened_poisson(result, photo, screen_for(1.0, 9))
    np.testing.assert_allclose(np.asarray(whole) - np.asarray(whole).mean((0, 1)),
                               PHOTO - PHOTO.mean((0, 1)), atol=1e-9)
    np.testing.assert_allclose(whole.mean((0, 1)), RESULT.mean((0, 1)), atol=1e-9)
    away = [float(jnp.abs(screened_poisson(result, photo, screen_for(a, 512)) - result).mean())
            for a in (0.1, 0.5, 0.9)]
    assert away == sorted(away)
