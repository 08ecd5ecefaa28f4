"""Winograd's form: its filters, also prepared by NumPy, and the strips of narrow layers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_ops import conv_params, normal

from jaxstyle.ops import reference
from jaxstyle.ops.convolution import layers as convolution
from jaxstyle.ops.convolution import winograd


@pytest.mark.parametrize(("size", "pads"), [
    ((9, 7), ((1, 1), (1, 1))), ((12, 6), ((0, 0), (1, 1))), ((5, 5), ((-1, 1), (2, -1))),
    ((11, 4), ((3, 0), (1, 2))), ((3, 3), ((1, 1), (1, 1))),
])
@pytest.mark.parametrize("strip", [1, 24, 60])
def test_strips_of_a_narrow_layer_are_the_whole(monkeypatch, strip, size, pads):
    with jax.enable_x64(True):
        x, kernel = normal(*size, 4), normal(3, 3, 4, 5, seed=1)
        monkeypatch.setattr(winograd, "STRIP", strip)
        found = jax.jit(winograd.correlate, static_argnums=2)(x, winograd.transform_filters(kernel), pads)
        padded = jax.lax.pad(x, 0.0, ((*pads[0], 0), (*pads[1], 0), (0, 0, 0)))
        desired = reference.conv(padded, {"kernel": kernel, "bias": jnp.zeros(5)}, padding=0)
        np.testing.assert_allclose(found, desired, atol=1e-12)


def test_a_narrow_layer_in_bfloat16_runs_in_strips_and_stays_near(monkeypatch):
    params = conv_params(3, 64, 64, "float32")
    x = normal(20, 30, 64, dtype="float32")
    prepared = convolution.prepare(params, "bfloat16")
    assert len(prepared["forward"]) == 16
    assert convolution.prepare(params)["forward"] is None  # in float32 the direct form is as fast
    monkeypatch.setattr(winograd, "STRIP", 4096)

    def loss(module, params):
        return lambda x: jnp.sum(module.conv(x, params, relu=True) ** 2)

    assert "scan" in str(jax.make_jaxpr(loss(convolution, prepared))(x))
    exact, rough = (jax.grad(loss(*pair))(x) for pair in ((reference, params), (convolution, prepared)))
    assert 1e-4 < np.linalg.norm(rough - exact) / np.linalg.norm(exact) < 2e-2
    batch = jax.vmap(jax.grad(loss(convolution, prepared)))(jnp.stack([x, x[::-1]]))
    np.testing.assert_allclose(batch[0], rough, atol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_filters_at_hand_and_traced_ones_are_prepared_alike(precision):
    params = conv_params(3, 96, 64, "float32")
    by_numpy = convolution.prepare(params, precision)
    traced = jax.jit(convolution.prepare, static_argnums=1)(params, precision)
    assert jax.tree.structure(by_numpy) == jax.tree.structure(traced)
    for a, b in zip(jax.tree.leaves(by_numpy), jax.tree.leaves(traced)):
        assert isinstance(a, jax.Array)
        assert a.dtype == b.dtype
        bound = {"float32": 1e-6, "bfloat16": 1e-2}[precision]
        np.testing.assert_allclose(np.asarray(a, np.float32), np.asarray(b, np.float32), atol=bound)


def test_winograd_filters_of_a_delta_are_its_transform():
    # G e₂₂ Gᵀ for the centre tap: the outer product of G's second column (0, ½, −½, 0).
    kernel = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1.0)
    column = np.array([0, 0.5, -0.5, 0])
    np.testing.assert_array_equal(
        np.reshape(winograd.transform_filters(kernel), (4, 4)), np.outer(column, column))
