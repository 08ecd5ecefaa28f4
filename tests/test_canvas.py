"""Canvases give an image back, and every coefficient moves what it should."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxstyle.errors import JaxstyleError
from jaxstyle.transfer.canvas import CANVASES, LaplacianPyramid, Pixels


def image(height: int, width: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).uniform(0.01, 0.99, (height, width, 3)))


@pytest.mark.parametrize("shape", [(16, 16), (17, 23), (5, 64), (1, 3)])
@pytest.mark.parametrize("canvas", [Pixels(), LaplacianPyramid(), LaplacianPyramid(bounded=False, gain=1.0),
                                    LaplacianPyramid(levels=0), LaplacianPyramid(levels=2, gain=0.3)])
def test_decoding_gives_the_image_back(x64, canvas, shape):
    x = image(*shape)
    np.testing.assert_allclose(canvas.decode(canvas.encode(x)), x, atol=1e-12)
    check_grads(canvas.decode, (canvas.encode(x),), order=1, modes=["rev"])


def test_bounded_pyramids_stay_in_range(x64):
    canvas = LaplacianPyramid(levels=3)
    far = jax.tree.map(lambda band: 50 * band, canvas.encode(image(16, 16)))
    decoded = np.asarray(canvas.decode(far))
    assert 0 <= decoded.min() < 1e-6 and 1 - 1e-6 < decoded.max() <= 1
    black = canvas.decode(canvas.encode(jnp.zeros((8, 8, 3))))
    assert np.abs(black).max() <= 0.0021


def test_bands_are_those_of_the_definition(x64):
    x = image(8, 8)
    fine, coarse = LaplacianPyramid(levels=1, bounded=False, gain=0.5).encode(x)
    assert coarse.shape == (4, 4, 3)
    smaller = jax.image.resize(x, (4, 4, 3), "linear", antialias=True)
    np.testing.assert_allclose(0.5 * coarse, smaller, rtol=1e-12)
    np.testing.assert_allclose(fine, x - jax.image.resize(smaller, (8, 8, 3), "linear"), atol=1e-12)


def test_gain_balances_how_far_coefficients_move_the_image(x64):
    canvas = LaplacianPyramid(levels=3, bounded=False, gain=0.5)
    bands = canvas.encode(image(64, 64))
    moved = []
    for k, band in enumerate(bands):
        change = canvas.decode(tuple(b.at[b.shape[0] // 2, b.shape[1] // 2].add(1.0) if i == k else b
                                     for i, b in enumerate(bands)))
        moved.append(float(jnp.linalg.norm(change - canvas.decode(bands))))
        assert band.shape[0] == 64 >> k
    assert max(moved) < 2 * min(moved)


def test_canvases_are_named_and_checked():
    assert (Pixels, LaplacianPyramid) == CANVASES
    with pytest.raises(JaxstyleError, match="levels"):
        LaplacianPyramid(levels=-1)
