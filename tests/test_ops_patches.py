"""Nearest patches by diagonal sums equal their definition."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstyle import ops
from jaxstyle.ops import patches, reference


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def normal(*shape: int, seed: int = 0, dtype: str = "float64") -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def numpy_matches(x, style, size) -> tuple[np.ndarray, np.ndarray]:
    """Nearest patches from the definition, patch by patch."""
    def all_patches(z):
        windows = np.lib.stride_tricks.sliding_window_view(z, (size, size), axis=(0, 1))
        return windows.reshape(*windows.shape[:2], -1)
    p, q = all_patches(np.asarray(x)), all_patches(np.asarray(style))
    scores = np.einsum("hwk,rck->hwrc", p, q / np.linalg.norm(q, axis=-1, keepdims=True))
    flat = scores.reshape(*scores.shape[:2], -1)
    return flat.argmax(-1), flat.max(-1)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("shapes", [((7, 5), (4, 9)), ((3, 3), (3, 4))])
def test_nearest_patches_are_the_definition(x64, monkeypatch, size, shapes):
    x, style = normal(*shapes[0], 4), normal(*shapes[1], 4, seed=5)
    index, score = numpy_matches(x, style, size)
    for block_bytes in (1, patches.BLOCK_BYTES):
        monkeypatch.setattr(patches, "BLOCK_BYTES", block_bytes)
        for module in (reference, patches):
            found = module.nearest_patches(x, style, size)
            assert found[0].dtype == jnp.int32
            np.testing.assert_array_equal(found[0], index)
            np.testing.assert_allclose(found[1], score, atol=1e-10)


def test_equal_patches_and_empty_ones_match_alike_in_both_forms(x64):
    # Whole numbers: ties are exact in every order of summation.
    x = jnp.asarray(np.random.default_rng(0).integers(0, 2, (6, 6, 2)), jnp.float64)
    style = jnp.zeros((7, 7, 2)).at[:, ::3].set(1.0)
    desired, actual = (module.nearest_patches(x, style, 1) for module in (reference, patches))
    np.testing.assert_array_equal(actual[0], desired[0])
    np.testing.assert_allclose(actual[1], desired[1], atol=1e-12)
    assert np.all(np.isfinite(actual[1]))


@pytest.mark.parametrize("module", [reference, patches])
def test_matches_in_float32_are_those_of_the_definition_in_float64(module):
    x, style = normal(12, 10, 16, dtype="float32"), normal(9, 14, 16, seed=7, dtype="float32")
    index, score = numpy_matches(np.asarray(x, np.float64), np.asarray(style, np.float64), 3)
    found = module.nearest_patches(x, style, 3)
    np.testing.assert_allclose(found[1], score, rtol=2e-5)
    np.testing.assert_array_equal(found[0], index)  # the two best differ by more than float32 rounds


def test_matching_in_bfloat16_finds_nearly_best_patches_and_has_no_gradient():
    x, style = normal(9, 9, 64, dtype="float32"), normal(9, 9, 64, seed=4, dtype="float32")
    exact, rough = (patches.nearest_patches(x, style, 3, p) for p in ("float32", "bfloat16"))
    assert 0 < np.max(np.abs(exact[1] - rough[1])) < 0.02 * np.max(np.abs(exact[1]))
    assert np.mean(exact[0] == rough[0]) > 0.9
    gradient = jax.grad(lambda x: jnp.sum(jax.vmap(
        lambda x: ops.nearest_patches(x, style)[1])(x[None])))(x)
    assert not np.any(gradient)


@pytest.mark.parametrize(("stride", "normalised", "block_bytes"),
                         [(1, "both", 1), (2, "style", 1), (2, "both", 48 << 20), (3, "no", 4000)])
def test_patches_on_a_grid_with_offsets_are_the_definition(x64, monkeypatch, stride, normalised, block_bytes):
    monkeypatch.setattr(patches, "BLOCK_BYTES", block_bytes)
    x, style = np.asarray(normal(9, 8, 4)), np.asarray(normal(8, 11, 4, seed=5))
    rows, columns, style_rows, style_columns = (ops.patch_starts(n, 3, stride) for n in (9, 8, 8, 11))
    assert rows[-1] == 6 and style_columns[-1] == 8, "the last patch is always among them"
    grid = ops.Grid(3, rows, columns, style_rows, style_columns, normalised=normalised, peaks=True)
    offset = np.random.default_rng(1).normal(size=(len(style_rows), len(style_columns)))
    offset[0, 1] = -np.inf
    table = np.zeros((len(rows), len(columns), *offset.shape))
    for a, b, c, d in np.ndindex(table.shape):
        p = x[rows[a] : rows[a] + 3, columns[b] : columns[b] + 3]
        q = style[style_rows[c] : style_rows[c] + 3, style_columns[d] : style_columns[d] + 3]
        norms = {"no": 1, "style": np.linalg.norm(q), "both": np.linalg.norm(p) * np.linalg.norm(q)}
        table[a, b, c, d] = np.sum(p * q) / norms[normalised]
    flat = (table + offset).reshape(*table.shape[:2], -1)
    row, column = np.divmod(flat.argmax(-1), offset.shape[1])
    expected = np.array(style_rows)[row] * 9 + np.array(style_columns)[column]
    for module in (reference, patches):
        index, score, peaks = module.best_patches(jnp.asarray(x), jnp.asarray(style), grid,
                                                  jnp.asarray(offset))
        np.testing.assert_array_equal(index, expected)
        np.testing.assert_allclose(score, flat.max(-1), atol=1e-10)
        np.testing.assert_allclose(peaks, table.max((0, 1)), atol=1e-10)
