"""Backbones against NumPy implementations written from the definitions, at every named layer."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import (
    alexnet_reference,
    googlenet_reference,
    resnet_reference,
    squeezenet_reference,
    vgg_reference,
    windows,
)

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
from jaxstyle.backbones.perceptual import random_weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import load
from jaxstyle.weights.port import port

SHARED = Path(__file__).parents[1].parent / "shared"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real weights of ../shared")

BORDERS = ("zero", "reflect", "replicate")
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


@pytest.fixture
def plain_operations(monkeypatch):
    """The plain operations compile three times as fast; the tests of ops compare both."""
    monkeypatch.setenv("JAXSTYLE_OPS", "reference")


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
    with pytest.raises(JaxstyleError, match="'googlenet' has no 'widths'"):
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
