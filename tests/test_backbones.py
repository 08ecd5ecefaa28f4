"""Backbones against NumPy implementations written from the definitions, at every named layer."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstyle import backbones
from jaxstyle.backbones import (
    VGG,
    AlexNet,
    GoogLeNet,
    ResNet50,
    SqueezeNet,
    parameter_shapes,
)
from jaxstyle.backbones.layers import pool
from jaxstyle.errors import JaxstyleError
from jaxstyle.images import load
from jaxstyle.ports import port
from jaxstyle.weights import random_weights

SHARED = Path(__file__).parents[1].parent / "shared"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real weights of ../shared")

NUMPY_PAD = {"zero": "constant", "reflect": "reflect", "replicate": "edge"}
BORDERS = tuple(NUMPY_PAD)
SMALL_VGG19 = ((6, 6), (8, 8), (10,) * 4, (12,) * 4, (12,) * 4)


def random_params(network, seed=0):
    """Kernels that keep the scale of the features, and biases that matter."""
    rng = np.random.default_rng(seed)
    return {
        name: {
            "kernel": rng.normal(0, (2 / np.prod(shape[:3])) ** 0.5, shape).astype(np.float32),
            "bias": rng.normal(0, 0.1, shape[-1]).astype(np.float32),
        }
        for name, shape in parameter_shapes(network).items()
    }


def convolve(x, layer, border="zero", stride=1, padding=None):
    """Cross-correlation from its definition: a sum over kernel offsets, in float64."""
    kernel = layer["kernel"].astype(np.float64)
    side = len(kernel)
    pad = side // 2 if padding is None else padding
    x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)), NUMPY_PAD[border])
    height, width = (x.shape[0] - side) // stride + 1, (x.shape[1] - side) // stride + 1
    total = np.zeros((height, width, kernel.shape[-1])) + layer["bias"]
    for i in range(side):
        for j in range(side):
            rows = x[i : i + stride * (height - 1) + 1 : stride]
            total += rows[:, j : j + stride * (width - 1) + 1 : stride] @ kernel[i, j]
    return total


def windows(x, kind, side, stride, pad=0, ceil=False):
    """Pooling from its definition: one window after the other, clipped to the image."""
    def count(n):
        steps = (n + 2 * pad - side) / stride
        return int(np.ceil(steps) if ceil else np.floor(steps)) + 1

    reduce = {"max": np.max, "average": np.mean}[kind]
    out = np.zeros((count(x.shape[0]), count(x.shape[1]), x.shape[2]))
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            top, left = i * stride - pad, j * stride - pad
            patch = x[max(top, 0) : top + side, max(left, 0) : left + side]
            out[i, j] = reduce(patch, axis=(0, 1))
    return out


@pytest.fixture
def plain_operations(monkeypatch):
    """The plain operations compile three times as fast; the tests of ops compare both."""
    monkeypatch.setenv("JAXSTYLE_OPS", "reference")


def relu(x):
    return np.maximum(x, 0)


def vgg_reference(x, params, network):
    found = {}
    for i, widths in enumerate(network.blocks, start=1):
        for j in range(1, len(widths) + 1):
            found[f"conv{i}_{j}"] = x = convolve(x, params[f"conv{i}_{j}"], network.border)
            found[f"relu{i}_{j}"] = x = relu(x)
            if f"conv{i}_{j}" in dict(network.aux):
                found[f"conv{i}_{j}_aux"] = y = convolve(x, params[f"conv{i}_{j}_aux"])
                found[f"relu{i}_{j}_aux"] = relu(y)
        found[f"pool{i}"] = x = windows(x, network.pooling, 2, 2)
    return found


def alexnet_reference(x, params, network):
    found = {}
    for i, (stride, padding) in enumerate(((4, 2), (1, 2), (1, 1), (1, 1), (1, 1)), start=1):
        x = convolve(x, params[f"conv{i}"], network.border, stride, padding)
        found[f"conv{i}"], found[f"relu{i}"] = x, relu(x)
        x = relu(x)
        if i in (1, 2, 5):
            found[f"pool{i}"] = x = windows(x, network.pooling, 3, 2)
    return found


def squeezenet_reference(x, params, network):
    found = {}

    def conv(x, name, rectified, **options):
        found[name] = convolve(x, params[name], network.border, **options)
        found[rectified] = relu(found[name])
        return found[rectified]

    x = conv(x, "conv1", "relu1", stride=2, padding=0)
    found["pool1"] = x = windows(x, network.pooling, 3, 2, ceil=True)
    for i in range(2, 10):
        part = {p: (f"fire{i}/{p}", f"fire{i}/relu_{p}") for p in
                ("squeeze1x1", "expand1x1", "expand3x3")}
        x = conv(x, *part["squeeze1x1"])
        both = [conv(x, *part["expand1x1"]), conv(x, *part["expand3x3"])]
        found[f"fire{i}/concat"] = x = np.concatenate(both, -1)
        if i in (3, 5):
            found[f"pool{i}"] = x = windows(x, network.pooling, 3, 2, ceil=True)
    x = conv(x, "conv10", "relu10")
    found["pool10"] = x.mean((0, 1), keepdims=True)
    return found


def googlenet_reference(x, params, network):
    found = {}

    def conv(x, prefix, name, rectified, **options):
        found[prefix + name] = convolve(x, params[prefix + name], network.border, **options)
        found[prefix + rectified] = relu(found[prefix + name])
        return found[prefix + rectified]

    def norm(x):
        squares = np.pad(x * x, ((0, 0), (0, 0), (2, 2)))
        total = sum(squares[:, :, k : k + x.shape[2]] for k in range(5))
        return x / (1 + 1e-4 * total / 5) ** 0.75

    x = conv(x, "conv1/", "7x7_s2", "relu_7x7", stride=2)
    found["pool1/3x3_s2"] = x = windows(x, network.pooling, 3, 2, ceil=True)
    found["pool1/norm1"] = x = norm(x)
    x = conv(x, "conv2/", "3x3_reduce", "relu_3x3_reduce")
    x = conv(x, "conv2/", "3x3", "relu_3x3")
    found["conv2/norm2"] = x = norm(x)
    found["pool2/3x3_s2"] = x = windows(x, network.pooling, 3, 2, ceil=True)
    for block in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        prefix = f"inception_{block}/"
        a = conv(x, prefix, "1x1", "relu_1x1")
        b = conv(x, prefix, "3x3_reduce", "relu_3x3_reduce")
        b = conv(b, prefix, "3x3", "relu_3x3")
        c = conv(x, prefix, "5x5_reduce", "relu_5x5_reduce")
        c = conv(c, prefix, "5x5", "relu_5x5")
        found[f"{prefix}pool"] = d = windows(x, "max", 3, 1, pad=1)
        d = conv(d, prefix, "pool_proj", "relu_pool_proj")
        found[f"{prefix}output"] = x = np.concatenate([a, b, c, d], -1)
        if block in ("3b", "4e"):
            found[f"pool{block[0]}/3x3_s2"] = x = windows(x, network.pooling, 3, 2, ceil=True)
    found["pool5/7x7_s1"] = x = x.mean((0, 1), keepdims=True)
    found["loss3/classifier"] = convolve(x, params["loss3/classifier"])
    return found


def resnet_reference(x, params, network):
    found = {"conv1": convolve(x, params["conv1"], network.border, 2, 3)}
    found["relu1"] = relu(found["conv1"])
    found["pool1"] = x = windows(found["relu1"], network.pooling, 3, 2, pad=1)
    for group, blocks in ((1, 3), (2, 4), (3, 6), (4, 3)):
        for block in range(blocks):
            prefix = f"layer{group}_{block}/"
            stride = 2 if group > 1 and block == 0 else 1
            y = x
            for i in (1, 2, 3):
                y = convolve(y, params[f"{prefix}conv{i}"], network.border, stride if i == 2 else 1)
                found[f"{prefix}conv{i}"] = y
                if i < 3:
                    found[f"{prefix}relu{i}"] = y = relu(y)
            if block == 0:
                x = convolve(x, params[f"{prefix}downsample"], network.border, stride)
                found[f"{prefix}downsample"] = x
            found[f"{prefix}output"] = x = relu(x + y)
    return found


def assert_equal_everywhere(network, reference, height, width):
    params = random_params(network)
    x = np.random.default_rng(1).normal(0, 1, (height, width, 3)).astype(np.float32)
    expected = reference(x.astype(np.float64), params, network)
    assert tuple(expected) == network.layers
    found = jax.jit(lambda p, x: network.apply({"params": p}, x, network.layers))(params, x)
    for name in network.layers:
        assert found[name].shape == expected[name].shape, name
        error = np.abs(np.asarray(found[name]) - expected[name]).max()
        assert error <= 1e-4 * np.abs(expected[name]).max(), name


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("pooling", ["max", "average"])
def test_vgg_equals_its_definition_at_every_layer(border, pooling):
    aux = (("conv2_1", 7), ("conv5_1", 9))
    network = VGG(blocks=SMALL_VGG19, pooling=pooling, border=border, aux=aux)
    assert_equal_everywhere(network, vgg_reference, 45, 38)


@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize(
    "form", [{"side": 3, "stride": 2, "ceil": True}, {"side": 3, "stride": 2, "pad": 1},
             {"side": 3, "stride": 1, "pad": 1}, {"side": 3, "stride": 2}])
def test_pooling_equals_its_definition(kind, form):
    for height, width in ((2, 3), (4, 5), (6, 7)):
        x = np.random.default_rng(0).normal(size=(height, width, 2))
        side, pad, ceil = form["side"], form.get("pad", 0), form.get("ceil", False)
        found = pool(jnp.asarray(x, jnp.float32), kind, side, form["stride"], pad, ceil)
        np.testing.assert_allclose(found, windows(x, kind, **form), rtol=1e-5, atol=1e-6)


def test_full_width_vgg16_equals_its_definition():
    assert_equal_everywhere(backbones.build("vgg16", {}), vgg_reference, 33, 32)


@pytest.mark.parametrize(
    ("module", "reference", "height", "width", "pooling", "border"),
    [(AlexNet, alexnet_reference, 70, 63, "max", "zero"),
     (AlexNet, alexnet_reference, 71, 67, "average", "replicate"),
     (SqueezeNet, squeezenet_reference, 61, 52, "max", "zero"),
     (SqueezeNet, squeezenet_reference, 50, 63, "average", "reflect"),
     (GoogLeNet, googlenet_reference, 70, 65, "max", "reflect"),
     (ResNet50, resnet_reference, 65, 50, "average", "zero")],
)
def test_other_backbones_equal_their_definition(
    module, reference, height, width, pooling, border, plain_operations
):
    network = module(pooling=pooling, border=border)
    assert_equal_everywhere(network, reference, height, width)


@pytest.mark.parametrize(
    ("module", "layer", "pooling"),
    [(AlexNet, "pool5", "max"), (SqueezeNet, "pool3", "average"), (ResNet50, "layer2_0/output", "max"),
     (GoogLeNet, "inception_3a/output", "average")],
)
def test_gradients_are_those_of_finite_differences(module, layer, pooling, plain_operations):
    """In float64, along a random direction, and the same for each image of a batch."""
    with jax.enable_x64(True):
        network = module(pooling=pooling, border="reflect")
        params = jax.tree.map(lambda x: x.astype(np.float64), random_params(network))
        rng = np.random.default_rng(2)
        x, direction = rng.normal(0, 1, (2, 67, 63, 3))

        @jax.jit
        def loss(x):
            return jnp.mean(network.apply({"params": params}, x, (layer,))[layer] ** 2)

        slopes = jax.jit(jax.vmap(jax.grad(loss)))(jnp.stack([x, -x]))
        step = 1e-7
        for image, slope in zip((x, -x), slopes):
            measured = (loss(image + step * direction) - loss(image - step * direction)) / (2 * step)
            most = np.linalg.norm(slope) * np.linalg.norm(direction)
            np.testing.assert_allclose((slope * direction).sum(), measured, rtol=0, atol=1e-5 * most)


def test_only_what_is_needed_is_computed():
    network = SqueezeNet()
    shallow = {name: value for name, value in random_params(network).items()
               if name.startswith(("conv1", "fire2"))}
    shallow.pop("conv10", None)
    found = network.apply({"params": shallow}, jnp.ones((40, 40, 3)), ("pool1", "fire2/concat"))
    assert set(found) == {"pool1", "fire2/concat"}


def test_vgg_stops_where_its_weights_stop():
    network = VGG(blocks=((4, 4), (6,)), last="relu2_1")
    assert network.layers == ("conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1", "conv2_1",
                              "relu2_1")
    found = network.apply({"params": random_params(network)}, jnp.ones((8, 8, 3)), ("relu2_1",))
    assert found["relu2_1"].shape == (4, 4, 6)


@pytest.mark.parametrize("name", ["vgg19", "alexnet", "squeezenet1_1", "googlenet"])
def test_too_small_an_image_is_a_clear_error(name):
    network = backbones.build(name, {"border": "reflect"})
    weights = random_weights(network=network)
    with pytest.raises(JaxstyleError, match="too small"):
        jax.eval_shape(lambda x: weights.features(x, (network.layers[-1],)), jnp.ones((2, 2, 3)))


def test_unknown_architectures_layers_and_attributes_are_named():
    with pytest.raises(JaxstyleError, match="unknown architecture 'vgg1000'"):
        backbones.build("vgg1000", {})
    weights = random_weights(network=VGG(blocks=((4,),)))
    with pytest.raises(JaxstyleError, match="no layer 'conv9_9'"):
        weights.features(jnp.ones((8, 8, 3)), ("conv9_9",))
    with pytest.raises(JaxstyleError, match="'vgg' has no 'stride'"):
        weights.with_network(stride=2)
    with pytest.raises(JaxstyleError, match="unknown pooling 'mean'; there are max, average"):
        weights.with_network(pooling="mean")
    with pytest.raises(JaxstyleError, match="unknown border 'wrap'"):
        backbones.build("alexnet", {"border": "wrap"})
    with pytest.raises(JaxstyleError, match="'googlenet' cannot be built with"):
        backbones.build("googlenet", {"widths": 3})
    assert weights.with_network(pooling="average").network.pooling == "average"


@needs_shared
@pytest.mark.parametrize(
    ("file", "logits"),
    [("squeezenet1_1_caffe", "pool10"), ("bvlc_googlenet", "loss3/classifier")],
)
def test_real_classifiers_recognise_photos(file, logits, tmp_path, plain_operations):
    """Kodak 9 shows sailing boats (trimaran 871, catamaran 484, yawl 914), 12 a sandbar (977)."""
    weights = port(SHARED / f"weights/{file}.npz", tmp_path / "w.safetensors")
    classify = jax.jit(lambda x: weights.features(x, (logits,))[logits].ravel())
    boats = np.argsort(classify(photo("kodim09")))[::-1]
    assert {871, 484, 914} >= set(boats[:2].tolist())
    assert int(np.argmax(classify(photo("kodim12")))) == 977


def photo(name):
    """The middle square of a photo at 227 pixels."""
    image = np.asarray(load(SHARED / f"images/kodak/{name}.png"))
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = jnp.asarray(image[top : top + side, left : left + side])
    return jax.image.resize(square, (227, 227, 3), "linear")
