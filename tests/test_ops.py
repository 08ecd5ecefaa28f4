"""The fast forms equal the plain ones: values, gradients, every border, odd and tiny images."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstyle import ops
from jaxstyle.backbones import VGG
from jaxstyle.errors import JaxstyleError
from jaxstyle.ops import grams, reference
from jaxstyle.ops.convolution import layers as convolution
from jaxstyle.ops.convolution import pooling

BORDERS = ("zero", "reflect", "replicate")
SIZES = ((1, 1), (2, 3), (5, 4))
# Kernel side, stride, padding, input and output channels; the first two run as Winograd.
KERNELS = (
    (3, 1, None, 96, 64), (3, 1, 2, 64, 96), (3, 1, None, 3, 8), (1, 1, None, 8, 4),
    (5, 1, None, 4, 3), (9, 1, None, 3, 8), (9, 1, None, 8, 3), (3, 2, None, 6, 5), (4, 4, 1, 3, 5),
)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def normal(*shape: int, seed: int = 0, dtype: str = "float64") -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def conv_params(size: int, inputs: int, outputs: int, dtype: str = "float64") -> dict:
    kernel = normal(size, size, inputs, outputs, seed=1, dtype=dtype)
    bias = normal(outputs, seed=2, dtype=dtype)
    return {"kernel": kernel / np.sqrt(size * size * inputs), "bias": bias}


def assert_trees_close(actual, desired, tolerance: float) -> None:
    """Every leaf within `tolerance` of the largest magnitude of the desired leaf (at least 1)."""
    assert jax.tree.structure(actual) == jax.tree.structure(desired)
    for a, d in zip(jax.tree.leaves(actual), jax.tree.leaves(desired)):
        assert a.dtype == d.dtype
        assert a.shape == d.shape
        if a.size:
            assert np.max(np.abs(a - d)) <= tolerance * max(1.0, np.max(np.abs(d)))


def numpy_conv(x, kernel, bias, stride, pad, border) -> np.ndarray:
    """Cross-correlation from its definition, pixel by pixel."""
    kh, kw, _, outputs = kernel.shape
    mode = {"zero": "constant", "reflect": "reflect", "replicate": "edge"}[border]
    padded = np.pad(x, ((pad, pad), (pad, pad), (0, 0)), mode=mode)
    height, width = ((padded.shape[i] - k) // stride + 1 for i, k in ((0, kh), (1, kw)))
    y = np.zeros((height, width, outputs))
    for i, j in itertools.product(range(height), range(width)):
        window = padded[i * stride:i * stride + kh, j * stride:j * stride + kw]
        y[i, j] = np.einsum("ijc,ijco->o", window, kernel) + bias
    return y


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("size", [(1, 1), (5, 4)])
def test_reference_conv_is_the_definition(x64, border, size):
    params = conv_params(3, 2, 3)
    x = normal(*size, 2)
    for stride, pad in ((1, 1), (2, 1), (1, 2)):
        desired = numpy_conv(x, params["kernel"], params["bias"], stride, pad, border)
        actual = reference.conv(x, params, border=border, stride=stride, padding=pad)
        np.testing.assert_allclose(actual, desired, atol=1e-12)


def conv_case(module, prepare: bool, **options):
    """Value and all gradients of a curved scalar of one convolution."""

    def scalar(x, params):
        y = module.conv(x, module.prepare(params) if prepare else params, **options)
        return jnp.sum(jnp.sin(y + 0.1)), y

    def both(x, params):
        (_, y), gradients = jax.value_and_grad(scalar, argnums=(0, 1), has_aux=True)(x, params)
        return y, gradients

    return jax.jit(both)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("case", KERNELS)
def test_fast_conv_equals_reference_in_float64(x64, case, border):
    size, stride, padding, inputs, outputs = case
    params = conv_params(size, inputs, outputs)
    turn = BORDERS.index(border)  # every kernel meets every size, not every border with every size
    shapes = (SIZES[turn], SIZES[turn - 1]) if size < 9 and inputs < 64 else (SIZES[turn],)
    for shape, relu in zip(shapes, (True, False)):
        x = normal(*shape, inputs)
        options = {"border": border, "stride": stride, "padding": padding, "relu": relu}
        desired = conv_case(reference, False, **options)(x, params)
        prepare = relu or inputs == 96
        actual = conv_case(convolution, prepare, **options)(x, params)
        assert_trees_close(actual, desired, 1e-10)


@pytest.mark.parametrize("border", BORDERS)
def test_fast_conv_in_float32_is_as_accurate_as_the_reference(border):
    params = conv_params(3, 128, 128, "float32")
    x = normal(16, 17, 128, dtype="float32")
    options = {"border": border, "relu": False}
    with jax.enable_x64(True):
        exact = conv_case(reference, False, **options)(
            *jax.tree.map(lambda leaf: leaf.astype("float64"), (x, params)))
        exact = jax.tree.map(np.asarray, exact)
    actual = conv_case(convolution, True, **options)(x, params)
    for a, d in zip(jax.tree.leaves(actual), jax.tree.leaves(exact)):
        assert a.dtype == jnp.float32
        assert np.linalg.norm(a - d) <= 2e-6 * np.linalg.norm(d)


def test_bfloat16_products_stay_near_and_float32_sums_are_kept():
    params = conv_params(3, 128, 128, "float32")
    x = normal(16, 16, 128, dtype="float32")
    prepared = convolution.prepare(params, "bfloat16")
    exact, actual = reference.conv(x, params), convolution.conv(x, prepared)
    assert actual.dtype == jnp.float32
    error = np.linalg.norm(actual - exact) / np.linalg.norm(exact)
    assert 1e-4 < error < 1e-2  # bfloat16 rounds to 2⁻⁹; exactly zero would mean it is not used
    with pytest.raises(JaxstyleError, match="precision 'half'"):
        convolution.prepare(params, "half")


def test_plain_form_in_bfloat16_stays_near_and_trains_its_kernel():
    params = conv_params(3, 8, 8, "float32")
    x = normal(6, 6, 8, dtype="float32")

    def loss(params, precision):
        return jnp.sum(jnp.sin(reference.conv(x, reference.prepare(params, precision))))

    exact, rough = (jax.grad(loss)(params, p)["kernel"] for p in ("float32", "bfloat16"))
    assert rough.dtype == jnp.float32
    assert 1e-4 < np.linalg.norm(rough - exact) / np.linalg.norm(exact) < 3e-2
    again = reference.prepare(reference.prepare(params, "bfloat16"), "tensorfloat32")
    assert again.keys() == {"kernel", "bias", "tensorfloat32"}
    assert reference.prepare(again).keys() == {"kernel", "bias"}


def test_prepare_is_idempotent_and_keeps_what_is_not_a_kernel(x64):
    params = {"a": {"b": conv_params(3, 96, 64)}, "norm": {"scale": jnp.ones(3)}, "n": jnp.ones(2)}
    once = ops.prepare(params)
    twice = ops.prepare(once)
    assert jax.tree.structure(once) == jax.tree.structure(twice)
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(once), jax.tree.leaves(twice)))
    assert {"kernel", "bias"} < once["a"]["b"].keys()
    assert once["norm"].keys() == {"scale"}
    assert len(once["a"]["b"]["forward"]) == 16


@pytest.mark.parametrize("module", [reference, convolution])
def test_empty_results_have_the_right_shape(module):
    params = conv_params(3, 4, 5, "float32")
    assert module.conv(jnp.zeros((0, 3, 4)), params).shape == (0, 3, 5)
    assert module.conv(jnp.zeros((2, 9, 4)), params, padding=0).shape == (0, 7, 5)
    assert module.conv(jnp.zeros((0, 3, 4)), params, border="reflect").shape == (0, 3, 5)


@pytest.mark.parametrize("inputs", [4, 96])
def test_batches_by_vmap_scan_and_checkpoint(x64, inputs):
    params = conv_params(3, inputs, inputs)
    xs = normal(3, 5, 6, inputs)

    def one(module, x, params):
        return jnp.sum(jnp.sin(module.conv(x, module.prepare(params), border="reflect", relu=True)))

    def by_vmap(module, xs, params):
        return jnp.sum(jax.vmap(lambda x: one(module, x, params))(xs))

    def by_scan(module, xs, params):
        step = jax.checkpoint(lambda total, x: (total + one(module, x, params), None))
        return jax.lax.scan(step, 0.0, xs)[0]

    desired = jax.jit(jax.grad(by_vmap, (1, 2)), static_argnums=0)(reference, xs, params)
    for form in (by_vmap, by_scan):
        gradient = jax.jit(jax.grad(form, (1, 2)), static_argnums=0)
        assert_trees_close(gradient(convolution, xs, params), desired, 1e-10)
    shape = jax.eval_shape(lambda x, p: jax.grad(one, 1)(convolution, x, p), xs[0], params)
    assert shape.shape == xs[0].shape


def test_second_derivatives_through_prepared_weights_are_right(x64):
    params = conv_params(3, 96, 64)
    x = normal(4, 5, 96)

    def energy(module, params):
        def scalar(x):
            return jnp.sum(jnp.sin(module.conv(x, module.prepare(params), relu=True)))
        return jnp.sum(jax.grad(scalar)(x) ** 2)

    gradient = jax.jit(jax.grad(energy, argnums=1), static_argnums=0)
    desired = gradient(reference, params)
    assert np.max(np.abs(desired["kernel"])) > 1e-3
    assert_trees_close(gradient(convolution, params), desired, 1e-10)


def test_gradient_of_prepared_weights_is_an_error_and_forward_mode_too():
    params = conv_params(3, 96, 64, "float32")
    x = normal(4, 5, 96, dtype="float32")
    with pytest.raises(JaxstyleError, match="raw weights"):
        jax.grad(lambda p: jnp.sum(convolution.conv(x, p)))(convolution.prepare(params))
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda x: convolution.conv(x, params), (x,), (x,))


def test_weight_gradients_cost_nothing_where_they_are_not_wanted():
    params = convolution.prepare(conv_params(3, 96, 96, "float32"))
    x = normal(8, 8, 96, dtype="float32")

    def dots(argument: int) -> int:
        def scalar(x, bias):
            return jnp.sum(convolution.conv(x, {**params, "bias": bias}, relu=True) ** 2)
        program = jax.jit(jax.grad(scalar, argument)).lower(x, params["bias"]).compile().as_text()
        return program.count(" dot(")

    assert dots(0) == 32  # 16 forward, 16 back to the image
    assert dots(1) == 16


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 2), (5, 4), (7, 7)])
@pytest.mark.parametrize("name", ["max_pool", "average_pool"])
def test_fast_pooling_equals_reference_with_ties(x64, name, shape):
    # Few distinct values, so that most blocks have ties.
    x = jnp.round(normal(2, *shape, 3))

    def gradient(module):
        pool = jax.vmap(getattr(module, name))
        return pool(x), jax.grad(lambda x: jnp.sum(jnp.cos(pool(x) + 0.3)))(x)

    assert_trees_close(gradient(pooling), gradient(reference), 1e-14)


def test_fast_gram_equals_reference(x64):
    x, target = normal(2, 5, 3, 7), normal(7, 7, seed=3)

    def gradient(module):
        def scalar(x, target, scale):
            grams_ = jax.vmap(module.gram)(x)
            distance = jax.vmap(lambda x: module.squared_gram_distance(x, target, scale))(x)
            return jnp.sum(jnp.sin(grams_ / 9)) + jnp.sum(distance)
        return jax.value_and_grad(scalar, argnums=(0, 1, 2))(x, target, jnp.asarray(0.3))

    assert_trees_close(gradient(grams), gradient(reference), 1e-12)
    np.testing.assert_allclose(
        grams.gram(x[0]), np.einsum("hwc,hwd->cd", x[0], x[0]), atol=1e-12)


@pytest.mark.parametrize("border", BORDERS)
def test_fast_upsample_conv_equals_reference_and_the_definition(x64, border):
    params = conv_params(3, 4, 5)
    x = normal(3, 4, 4)

    def both(module):
        def scalar(x, params):
            prepared = module.prepare(params)
            y = module.upsample_conv(x, prepared, border=border, relu=True)
            return jnp.sum(jnp.sin(y)), y
        return jax.jit(jax.value_and_grad(scalar, argnums=(0, 1), has_aux=True))(x, params)

    actual, desired = both(convolution), both(reference)
    assert_trees_close(actual, desired, 1e-10)
    enlarged = np.kron(np.asarray(x), np.ones((2, 2, 1)))
    defined = numpy_conv(enlarged, params["kernel"], params["bias"], 1, 1, border)
    np.testing.assert_allclose(actual[0][1], np.maximum(defined, 0), atol=1e-10)


def test_environment_chooses_the_form(monkeypatch, x64):
    params = conv_params(3, 96, 96)
    x = normal(6, 6, 96)
    results = {}
    for choice in ("reference", "fast"):
        monkeypatch.setenv("JAXSTYLE_OPS", choice)
        assert ("backward" in ops.prepare(params)) == (choice == "fast")
        results[choice] = ops.conv(x, ops.prepare(params), border="reflect")
    np.testing.assert_allclose(results["fast"], results["reference"], atol=1e-10)
    monkeypatch.setenv("JAXSTYLE_OPS", "reference")
    jax.jvp(lambda x: ops.conv(x, params), (x,), (x,))
    monkeypatch.setenv("JAXSTYLE_OPS", "quick")
    with pytest.raises(JaxstyleError, match="use reference or fast"):
        ops.gram(x)


def test_a_whole_network_has_equal_gradients_in_both_forms(monkeypatch, x64):
    network = VGG(blocks=((48,), (96,)), border="reflect")  # direct, then Winograd
    layers = ("relu1_1", "pool2")
    params = network.init(jax.random.key(0), jnp.zeros((16, 16, 3)), layers)["params"]
    x = normal(9, 14, 3)

    def gradient(choice):
        monkeypatch.setenv("JAXSTYLE_OPS", choice)

        def scalar(x, params):
            prepared = ops.prepare(params, "tensorfloat32")  # float32 on a CPU
            features = network.apply({"params": prepared}, x, layers)
            return sum(ops.squared_gram_distance(f, jnp.eye(f.shape[-1]), 1 / f.size)
                       for f in features.values())

        return jax.jit(jax.value_and_grad(scalar, argnums=(0, 1)))(x, params)

    assert_trees_close(gradient("fast"), gradient("reference"), 1e-10)
