"""Ports: every format gives the numbers that went in; whatever is wrong is said in one line."""

from __future__ import annotations

import pickle
import runpy
import sys
import zipfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from foreign import (
    NARROW,
    integers,
    keras_count,
    oihw,
    random_layers,
    torch_names,
    torch_pickle,
    unicode,
    write_caffemodel,
    write_keras,
    write_matconvnet,
    write_npz,
    write_torch_legacy,
    write_torch_zip,
)
from safetensors import safe_open

from jaxstyle import backbones
from jaxstyle.backbones import VGG, parameter_shapes
from jaxstyle.backbones.perceptual import CONVENTIONS
from jaxstyle.images.files import load
from jaxstyle.weights.formats.source import read_source
from jaxstyle.weights.naming import vgg_modules
from jaxstyle.weights.port import Provenance, fold_normalisation, port
from jaxstyle.weights.store import load_weights, sha256

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="module")
def squeezenet():
    return random_layers(backbones.build("squeezenet1_1", {}))


@pytest.fixture(scope="module")
def vgg16():
    return random_layers(backbones.build("vgg16", {}))


@pytest.fixture(scope="module")
def narrow():
    return random_layers(VGG(blocks=NARROW))


def assert_holds(weights, layers):
    assert weights.params.keys() == layers.keys()
    for name, (kernel, bias) in layers.items():
        np.testing.assert_array_equal(weights.params[name]["kernel"], kernel)
        np.testing.assert_array_equal(weights.params[name]["bias"], bias)


def assert_convention(weights, name):
    np.testing.assert_array_equal(weights.matrix, CONVENTIONS[name][0])
    np.testing.assert_array_equal(weights.offset, CONVENTIONS[name][1])


# --- formats ------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["OIHW", "HWIO"])
@pytest.mark.parametrize("names", ["{}/weight", "{}.weight", "{}_W"])
def test_numpy_archive(narrow, layout, names, tmp_path):
    bias_names = names.replace("weight", "bias").replace("_W", "_b")
    arrays = {}
    for name, (kernel, bias) in narrow.items():
        arrays[names.format(name)] = oihw(kernel) if layout == "OIHW" else kernel
        arrays[bias_names.format(name)] = bias
    np.savez(tmp_path / "net.npz", **arrays)
    weights = port(tmp_path / "net.npz", tmp_path / "out.safetensors")
    assert_holds(weights, narrow)
    assert_convention(weights, "caffe-vgg")
    assert weights.network.blocks == NARROW and weights.network.border == "zero"


def test_torch_names_in_a_numpy_archive_mean_torchvision(narrow, tmp_path):
    modules = {own: module for module, own in vgg_modules(NARROW).items()}
    arrays = {}
    for name, (kernel, bias) in narrow.items():
        arrays[f"module.{modules[name]}.weight"] = oihw(kernel)
        arrays[f"module.{modules[name]}.bias"] = bias
    np.savez(tmp_path / "net.npz", **arrays)
    weights = port(tmp_path / "net.npz", tmp_path / "out.safetensors")
    assert_holds(weights, narrow)
    assert_convention(weights, "torchvision")


def test_own_preprocessing_aux_maps_and_early_end(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"preprocess/weight": rng.standard_normal((3, 3, 1, 1), np.float32),
              "preprocess/bias": rng.standard_normal(3, np.float32)}
    network = VGG(blocks=((4, 4), (6,)), aux=(("conv2_1", 9),), last="relu2_1_aux")
    layers = random_layers(network)
    for name, (kernel, bias) in layers.items():
        arrays[f"{name}/weight"], arrays[f"{name}/bias"] = oihw(kernel), bias
    np.savez(tmp_path / "vgg19_part.npz", **arrays)
    weights = port(tmp_path / "vgg19_part.npz", tmp_path / "out.safetensors")
    assert_holds(weights, layers)
    assert weights.network == network.clone(border="reflect")
    pixel = rng.random(3, np.float32)
    expected = arrays["preprocess/weight"][:, :, 0, 0] @ pixel + arrays["preprocess/bias"]
    np.testing.assert_allclose(pixel @ weights.matrix + weights.offset, expected, rtol=1e-5)


@pytest.mark.parametrize("style", ["mapping", "list"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_numpy_dictionary(narrow, style, protocol, tmp_path):
    tree = {name: {"weights": kernel, "biases": bias} if style == "mapping" else [kernel, bias]
            for name, (kernel, bias) in narrow.items()}
    content = np.empty((), object)
    content[()] = tree
    with open(tmp_path / "net.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"shape": (), "fortran_order": False, "descr": "|O"})
        pickle.dump(content, file, protocol)
    assert_holds(port(tmp_path / "net.npy", tmp_path / "out.safetensors"), narrow)


@pytest.mark.parametrize("write", [write_torch_zip, write_torch_legacy])
def test_pytorch(squeezenet, write, tmp_path):
    write(tmp_path / "net.pth", torch_names(squeezenet))
    weights = port(tmp_path / "net.pth", tmp_path / "out.safetensors")
    assert_holds(weights, squeezenet)
    assert_convention(weights, "torchvision")


def test_pytorch_views_share_a_storage(tmp_path):
    """A tensor may be any strided part of its storage: here a transposed one from an offset."""
    code = torch_pickle({"a": np.zeros((1, 1, 2, 3), np.float32)})
    shape_and_strides = integers((1, 1, 2, 3)) + integers((6, 6, 3, 1))
    assert shape_and_strides in code
    code = code.replace(b"I0\n" + shape_and_strides,
                        b"I4\n" + integers((1, 1, 3, 2)) + integers((6, 6, 1, 3)))
    code = code.replace(b"I6\n", b"I10\n", 1).replace(unicode("a"), unicode("conv1_1.weight"))
    with zipfile.ZipFile(tmp_path / "net.pth", "w") as archive:
        archive.writestr("x/data.pkl", code)
        archive.writestr("x/data/0", np.arange(10, dtype="<f4").tobytes())
    found = read_source(tmp_path / "net.pth").arrays["conv1_1/weight"]
    np.testing.assert_array_equal(found[0, 0], [[4, 7], [5, 8], [6, 9]])


@pytest.mark.parametrize("old", [True, False])
def test_caffemodel(squeezenet, old, tmp_path):
    write_caffemodel(tmp_path / "net.caffemodel", squeezenet, old)
    weights = port(tmp_path / "net.caffemodel", tmp_path / "out.safetensors")
    assert_holds(weights, squeezenet)
    assert_convention(weights, "caffe-104-117-123")


def test_matconvnet(vgg16, tmp_path):
    write_matconvnet(tmp_path / "imagenet-vgg-verydeep-16.mat", vgg16, old=False)
    weights = port(tmp_path / "imagenet-vgg-verydeep-16.mat", tmp_path / "out.safetensors")
    assert_holds(weights, vgg16)
    assert_convention(weights, "matconvnet")


@pytest.mark.parametrize("old", [True, False])
def test_matconvnet_forms(narrow, old, tmp_path):
    write_matconvnet(tmp_path / "net.mat", narrow, old)
    found = read_source(tmp_path / "net.mat")
    assert found.format == "matconvnet"
    for name, (kernel, bias) in narrow.items():
        np.testing.assert_array_equal(found.arrays[f"{name}/weight"], kernel)
        np.testing.assert_array_equal(found.arrays[f"{name}/bias"].reshape(-1), bias)


@pytest.mark.parametrize("style", ["old", "three"])
def test_keras(vgg16, style, tmp_path):
    write_keras(tmp_path / "notop.h5", vgg16, style)
    weights = port(tmp_path / "notop.h5", tmp_path / "out.safetensors")
    assert_holds(weights, vgg16)
    assert_convention(weights, "caffe-vgg")


@pytest.mark.parametrize("style", ["old", "new", "full", "three"])
def test_keras_forms(narrow, style, tmp_path):
    write_keras(tmp_path / "net.h5", narrow, style)
    found = read_source(tmp_path / "net.h5")
    assert found.format == "keras" and len(found.arrays) == 2 * len(narrow)
    for name, (kernel, bias) in narrow.items():
        block = f"block{name[4]}_conv{name[6]}"
        block = keras_count(narrow, name) if style == "three" else block
        np.testing.assert_array_equal(found.arrays[f"{block}/weight"], kernel)
        np.testing.assert_array_equal(found.arrays[f"{block}/bias"], bias)


def test_normalisation_is_folded_exactly():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(4, 3, 1, 1))
    gamma, beta, mean = rng.normal(size=(3, 4))
    variance = rng.uniform(0.5, 2, 4)
    layer = {"weight": weight, "bn_weight": gamma, "bn_bias": beta, "bn_running_mean": mean,
             "bn_running_var": variance}
    folded = fold_normalisation({"conv1": layer}, Path("f"))["conv1"]
    x = rng.normal(size=3)
    expected = (weight[:, :, 0, 0] @ x - mean) / np.sqrt(variance + 1e-5) * gamma + beta
    np.testing.assert_allclose(folded["weight"][:, :, 0, 0] @ x + folded["bias"], expected)


def test_resnet_under_torch_names(tmp_path):
    shapes = parameter_shapes(backbones.build("resnet50", {}))
    arrays = {}
    for name, shape in shapes.items():
        block, _, part = name.replace("_", ".").rpartition("/")
        prefix = f"{block}." if block else ""
        conv, norm = ((f"{prefix}downsample.0", f"{prefix}downsample.1") if part == "downsample"
                      else (f"{prefix}{part}", f"{prefix}{part.replace('conv', 'bn')}"))
        arrays[f"{conv}.weight"] = np.zeros((shape[3], shape[2], *shape[:2]), np.float16)
        arrays[f"{norm}.weight"] = np.ones(shape[3], np.float16)
        arrays[f"{norm}.bias"] = np.full(shape[3], len(arrays), np.float16)
        arrays[f"{norm}.running_mean"] = np.zeros(shape[3], np.float16)
        arrays[f"{norm}.running_var"] = np.ones(shape[3], np.float16)
    np.savez(tmp_path / "net.npz", **arrays)
    weights = port(tmp_path / "net.npz", tmp_path / "out.safetensors")
    assert_convention(weights, "torchvision")
    biases = [float(weights.params[name]["bias"][0]) for name in shapes]
    assert biases == [5.0 * i + 2 for i in range(len(shapes))]


# --- what is written ----------------------------------------------------------------------------


def test_the_file_says_where_it_comes_from_and_is_reproducible(narrow, tmp_path):
    source = write_npz(tmp_path / "net.npz", narrow)
    for target in ("a", "b"):
        port(source, tmp_path / f"{target}.safetensors", "vgg19", border="replicate",
             convention="torchvision", provenance=Provenance("CC BY 4.0", "Oxford"))
    with safe_open(tmp_path / "a.safetensors", framework="numpy") as file:
        notes = file.metadata()
    assert notes["architecture"] == "vgg19" and notes["licence"] == "CC BY 4.0"
    assert notes["origin"] == "Oxford" and notes["source"] == "net.npz (npz)"
    assert notes["source_sha256"] == sha256(source) and notes["convention"] == "torchvision"
    assert sha256(tmp_path / "a.safetensors") == sha256(tmp_path / "b.safetensors")
    weights = load_weights(tmp_path / "a.safetensors")
    assert weights.network.border == "replicate"
    other = port(source, tmp_path / "c.safetensors", "vgg19", border="replicate",
                 convention="torchvision", provenance=Provenance("another remark"))
    assert other.sha256 == weights.sha256
    assert port(source, tmp_path / "d.safetensors", convention="torchvision").sha256 != weights.sha256
    feature = weights.features(jnp.ones((8, 8, 3)), ("relu2_1",))["relu2_1"]
    assert feature.shape == (4, 4, 7)


def test_the_script_does_the_same(narrow, tmp_path, capsys, monkeypatch):
    source = write_npz(tmp_path / "net.npz", narrow)
    expected = port(source, tmp_path / "a.safetensors")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["port_weights.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "scripts/port_weights.py"), run_name="__main__")
        return ended.value.code, capsys.readouterr()

    code, printed = run(source, tmp_path / "b.safetensors")
    assert code == 0 and expected.sha256 in printed.out
    assert sha256(tmp_path / "b.safetensors") == sha256(tmp_path / "a.safetensors")
    code, printed = run(source, tmp_path / "c.safetensors", "--arch", "googlenet")
    assert code == 2 and len(printed.err.splitlines()) == 1


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real weights of ../shared")
def test_real_files_keep_their_means(tmp_path):
    """Gatys' normalised VGG-19: every filter's mean activation on photos is near one."""
    source = SHARED / "weights/vgg19_normalised_to_conv3_1.npz"
    weights = port(source, tmp_path / "w.safetensors")
    assert weights.network.last == "relu3_1" and weights.network.border == "reflect"
    image = jnp.asarray(load(SHARED / "images/kodak/kodim05.png"))[:256, :256]
    layers = ("relu1_1", "relu2_1", "relu3_1")
    for feature in weights.features(image, layers).values():
        assert 0.7 < float(feature.mean()) < 1.6
