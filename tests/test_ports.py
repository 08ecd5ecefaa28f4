"""Ports: every format gives the numbers that went in; whatever is wrong is said in one line."""

from __future__ import annotations

import io
import pickle
import runpy
import struct
import sys
import zipfile
from pathlib import Path

import h5py
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io
from safetensors import safe_open

from jaxstyle import backbones
from jaxstyle.backbones import VGG, parameter_shapes
from jaxstyle.errors import JaxstyleError
from jaxstyle.images import load
from jaxstyle.naming import vgg_modules
from jaxstyle.ports import arrange, fold_normalisation, port
from jaxstyle.sources import read_source
from jaxstyle.weights import CONVENTIONS, load_weights, sha256

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
NARROW = ((5, 6), (7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))
SQUEEZE_MODULES = {2: 3, 3: 4, 4: 6, 5: 7, 6: 9, 7: 10, 8: 11, 9: 12}


def random_layers(network, seed=0):
    """own name -> kernel HWIO and bias, of the shapes that a network has."""
    rng = np.random.default_rng(seed)
    return {name: (rng.standard_normal(shape, np.float32), rng.standard_normal(shape[-1], np.float32))
            for name, shape in parameter_shapes(network).items()}


def oihw(kernel):
    return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))


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


# --- writers of other programs' files -----------------------------------------------------------


def torch_names(squeezenet):
    """SqueezeNet's layers under torchvision's names, OIHW."""
    arrays = {}
    for name, (kernel, bias) in squeezenet.items():
        if name in ("conv1", "conv10"):
            module = {"conv1": "features.0", "conv10": "classifier.1"}[name]
        else:
            fire, part = name.split("/")
            module = f"features.{SQUEEZE_MODULES[int(fire[4:])]}.{part.removesuffix('1x1')}"
            module += "1x1" if part == "expand1x1" else ""
        arrays[f"{module}.weight"], arrays[f"{module}.bias"] = oihw(kernel), bias
    return arrays


def unicode(text):
    return b"V" + text.encode() + b"\n"


def integers(values):
    return b"(" + b"".join(b"I%d\n" % value for value in values) + b"t"


def torch_pickle(arrays, extra=b"", tail=b""):
    """The opcodes of an ordered dictionary of tensors, as torch.save writes them."""
    ordered = b"ccollections\nOrderedDict\n)R"
    code = b"\x80\x02" + ordered + b"("
    for key, (name, array) in enumerate(arrays.items()):
        strides = [stride // array.itemsize for stride in array.strides]
        storage = (b"(" + unicode("storage") + b"ctorch\nFloatStorage\n" + unicode(str(key))
                   + unicode("cpu") + b"I%d\n" % array.size + tail + b"tQ")
        code += (unicode(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"I0\n"
                 + integers(array.shape) + integers(strides) + b"I00\n" + ordered + b"tR")
    return code + extra + b"u."


def write_torch_zip(path, arrays, extra=b""):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", torch_pickle(arrays, extra))
        archive.writestr("archive/byteorder", "little")
        for key, array in enumerate(arrays.values()):
            archive.writestr(f"archive/data/{key}", array.tobytes())
        archive.writestr("archive/version", "3\n")


def write_torch_legacy(path, arrays, extra=b""):
    with open(path, "wb") as file:
        pickle.dump(0x1950A86A20F9469CFC6C, file, 2)
        pickle.dump(1001, file, 2)
        pickle.dump({"protocol_version": 1001, "little_endian": True}, file, 2)
        file.write(torch_pickle(arrays, extra, tail=b"N"))
        pickle.dump([str(key) for key in range(len(arrays))], file, 2)
        for array in arrays.values():
            file.write(struct.pack("<q", array.size) + array.tobytes())


def varint(value):
    code = b""
    while value > 0x7F:
        code, value = code + bytes([value & 0x7F | 0x80]), value >> 7
    return code + bytes([value])


def message(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def caffe_blob(array, old):
    if old:
        sizes = (1,) * (4 - array.ndim) + array.shape
        shape = b"".join(varint(i << 3) + varint(n) for i, n in enumerate(sizes, start=1))
    else:
        shape = message(7, message(1, b"".join(map(varint, array.shape))))
    return shape + message(5, array.astype("<f4").tobytes())


def write_caffemodel(path, layers, old):
    """A NetParameter with V1 (old) or V2 layers, among layers that have no numbers."""
    layer_field, name_field, blobs_field = (2, 4, 6) if old else (100, 1, 7)
    content = message(1, b"net") + message(layer_field, message(name_field, b"data"))
    for name, (kernel, bias) in layers.items():
        blobs = [message(blobs_field, caffe_blob(array, old)) for array in (oihw(kernel), bias)]
        relu = message(name_field, f"relu_{name}".encode()) + varint(10 << 3) + varint(1)
        content += message(layer_field, message(name_field, name.encode()) + b"".join(blobs))
        content += message(layer_field, relu)
    path.write_bytes(content)


def write_matconvnet(path, layers, old):
    cells = np.empty((1, 2 * len(layers)), object)
    for i, (name, (kernel, bias)) in enumerate(layers.items()):
        if old:
            cell = {"name": name, "type": "conv", "filters": kernel, "biases": bias[None]}
        else:
            parts = np.empty((1, 2), object)
            parts[0, 0], parts[0, 1] = kernel, bias[:, None]
            cell = {"name": name, "type": "conv", "weights": parts}
        cells[0, 2 * i] = cell
        cells[0, 2 * i + 1] = {"name": name.replace("conv", "relu"), "type": "relu"}
    scipy.io.savemat(path, {"layers": cells, "meta": {"note": "random"}})


def keras_count(layers, name):
    """Keras 3 numbers all convolutions: conv2d, conv2d_1, …"""
    place = list(layers).index(name)
    return f"conv2d_{place}" if place else "conv2d"


def write_keras(path, layers, style):
    """old: with the backend's names; new: `kernel:0`; full: a whole model; three: Keras 3."""
    with h5py.File(path, "w") as file:
        for name, (kernel, bias) in layers.items():
            block = f"block{name[4]}_conv{name[6]}"
            if style == "old":
                file[f"{block}/{block}_W_1:0"], file[f"{block}/{block}_b_1:0"] = kernel, bias
            elif style == "three":
                group = f"layers/{keras_count(layers, name)}/vars"
                file[f"{group}/0"], file[f"{group}/1"] = kernel, bias
            else:
                group = f"model_weights/{block}/{block}" if style == "full" else f"{block}/{block}"
                file[f"{group}/kernel:0"], file[f"{group}/bias:0"] = kernel, bias
        file.create_group("block1_pool")
        if style == "full":
            file["model_weights/predictions/predictions/kernel:0"] = np.zeros((4, 5), np.float32)


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


def write_npz(path, layers):
    np.savez(path, **{f"{name}/{role}": array for name, (kernel, bias) in layers.items()
                      for role, array in (("weight", oihw(kernel)), ("bias", bias))})
    return path


def test_the_file_says_where_it_comes_from_and_is_reproducible(narrow, tmp_path):
    source = write_npz(tmp_path / "net.npz", narrow)
    for target in ("a", "b"):
        port(source, tmp_path / f"{target}.safetensors", "vgg19", border="replicate",
             convention="torchvision", licence="CC BY 4.0", origin="Oxford")
    with safe_open(tmp_path / "a.safetensors", framework="numpy") as file:
        notes = file.metadata()
    assert notes["architecture"] == "vgg19" and notes["licence"] == "CC BY 4.0"
    assert notes["origin"] == "Oxford" and notes["source"] == "net.npz (npz)"
    assert notes["source_sha256"] == sha256(source) and notes["convention"] == "torchvision"
    assert sha256(tmp_path / "a.safetensors") == sha256(tmp_path / "b.safetensors")
    weights = load_weights(tmp_path / "a.safetensors")
    assert weights.network.border == "replicate"
    other = port(source, tmp_path / "c.safetensors", "vgg19", border="replicate",
                 convention="torchvision", licence="another remark")
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


# --- what is refused ----------------------------------------------------------------------------


def refusal(source, **options):
    """The one line that a port of a bad file ends with; nothing may be written."""
    target = source.with_name("out.safetensors")
    with pytest.raises(JaxstyleError) as raised:
        port(source, target, **options)
    text = str(raised.value)
    assert "\n" not in text and not target.exists()
    assert not list(source.parent.glob(".*.tmp"))
    return text


EVIL = b"cos\nsystem\n(" + unicode("touch {}") + b"tR"


@pytest.mark.parametrize("write", [write_torch_zip, write_torch_legacy])
def test_a_pickle_that_asks_for_more_is_refused_and_does_not_run(write, tmp_path):
    trace = tmp_path / "executed"
    evil = unicode("boom") + EVIL.replace(b"{}", str(trace).encode())
    write(tmp_path / "evil.pth", {"features.0.bias": np.zeros(3, np.float32)}, evil)
    text = refusal(tmp_path / "evil.pth")
    assert "evil.pth" in text and "'os.system'" in text and not trace.exists()


def test_a_malicious_npy_is_refused(tmp_path):
    trace = tmp_path / "executed"
    with open(tmp_path / "evil.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"shape": (), "fortran_order": False, "descr": "|O"})
        file.write(b"\x80\x02" + EVIL.replace(b"{}", str(trace).encode()) + b".")
    assert "'os.system'" in refusal(tmp_path / "evil.npy") and not trace.exists()


def test_a_tensor_beyond_its_storage_is_refused(tmp_path):
    path = tmp_path / "net.pth"
    code = torch_pickle({"conv1_1.bias": np.zeros(3, np.float32)})
    for bad in (integers((3,)) + integers((10**9,)), integers((10**12,)) + integers((1,)),
                integers((3,)) + integers((-1,))):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x/data.pkl", code.replace(integers((3,)) + integers((1,)), bad))
            archive.writestr("x/data/0", bytes(12))
        assert "beyond its storage" in refusal(path)


def test_missing_layer(narrow, squeezenet, tmp_path):
    gap = {name: layer for name, layer in narrow.items() if name != "conv3_2"}
    text = refusal(write_npz(tmp_path / "net.npz", gap))
    assert "conv3_2 is missing" in text and "net.npz" in text
    short = {name: layer for name, layer in squeezenet.items() if name != "conv10"}
    text = refusal(write_npz(tmp_path / "net.npz", short))
    assert "conv10 is missing: expected 26 layers, found 25" in text


def test_wrong_shape(squeezenet, tmp_path):
    kernel, bias = squeezenet["fire3/expand3x3"]
    wrong = {**squeezenet, "fire3/expand3x3": (kernel[:, :, :7], bias)}
    text = refusal(write_npz(tmp_path / "net.npz", wrong))
    assert "fire3/expand3x3/weight: expected (64, 16, 3, 3) (OIHW), found (64, 7, 3, 3)" in text
    wrong = {**squeezenet, "fire3/expand3x3": (kernel, bias[:5])}
    assert "fire3/expand3x3/bias: expected 64 numbers, found 5" in refusal(
        write_npz(tmp_path / "net.npz", wrong))
    wrong = {**squeezenet, "conv1": (squeezenet["conv1"][0] * np.nan, squeezenet["conv1"][1])}
    assert "conv1/kernel: expected finite" in refusal(write_npz(tmp_path / "net.npz", wrong))


@pytest.mark.parametrize(("axes", "order"), [((1, 0, 2, 3), "IOHW"), ((0, 2, 3, 1), "OHWI")])
def test_transposed_filters(squeezenet, axes, order, tmp_path):
    arrays = {}
    for name, (kernel, bias) in squeezenet.items():
        arrays[f"{name}/weight"], arrays[f"{name}/bias"] = oihw(kernel).transpose(axes), bias
    np.savez(tmp_path / "net.npz", **arrays)
    text = refusal(tmp_path / "net.npz")
    assert f"transposed filters: expected OIHW or HWIO, found {order}" in text


def test_theano_ordered_keras_file(narrow):
    layers = {name: {"weight": oihw(kernel), "bias": bias} for name, (kernel, bias) in narrow.items()}
    shapes = {name: kernel.shape for name, (kernel, _) in narrow.items()}
    with pytest.raises(JaxstyleError, match="transposed filters: expected HWIO, found OIHW"):
        arrange(layers, shapes, Path("th.h5"), ("HWIO",))


def test_ambiguous_layout_and_lost_bias():
    layers = {"conv1_1": {"weight": np.zeros((3, 3, 3, 3)), "bias": np.zeros(3)}}
    with pytest.raises(JaxstyleError, match="ambiguous"):
        arrange(layers, {"conv1_1": (3, 3, 3, 3)}, Path("f"))
    with pytest.raises(JaxstyleError, match="conv1_1 has no bias"):
        arrange({"conv1_1": {"weight": np.zeros((3, 3, 3, 4))}}, {"conv1_1": (3, 3, 3, 4)}, Path("f"))


def test_unknown_choices(narrow, tmp_path):
    source = write_npz(tmp_path / "net.npz", narrow)
    assert "unknown architecture 'vgg11'" in refusal(source, arch="vgg11")
    assert "unknown input convention 'bgr'" in refusal(source, convention="bgr")
    assert "unknown border 'wrap'" in refusal(source, border="wrap")
    source = write_npz(tmp_path / "net.npz", {"conv1_1": narrow["conv1_1"]})
    assert "say --arch" in refusal(source)
    assert "cannot be read" in refusal(tmp_path / "absent.npz")
    (tmp_path / "text.pth").write_text("<html>not found</html>")
    assert "not a weights file of a known format" in refusal(tmp_path / "text.pth")


def test_every_truncation_is_one_clear_line(narrow, tmp_path):
    """Cut at many places, no format lets anything but a JaxstyleError out."""
    arrays = {f"{name}.{role}": array for name, (kernel, bias) in narrow.items()
              for role, array in (("weight", oihw(kernel)), ("bias", bias))}
    write_torch_zip(tmp_path / "zip.pth", arrays)
    write_torch_legacy(tmp_path / "legacy.pth", arrays)
    write_caffemodel(tmp_path / "net.caffemodel", narrow, old=False)
    write_matconvnet(tmp_path / "net.mat", narrow, old=False)
    write_keras(tmp_path / "net.h5", narrow, "new")
    write_npz(tmp_path / "net.npz", narrow)
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        for part in (0.001, 0.1, 0.5, 0.9, 0.999):
            path.write_bytes(whole[: int(part * len(whole))])
            text = refusal(path, arch="vgg19")
            assert path.name in text, text
        path.unlink()


def test_a_file_that_crashes_its_library_is_one_line_too(tmp_path):
    """With byte 320 turned over, SciPy's compiled reader ends in a segmentation fault."""
    write_matconvnet(tmp_path / "net.mat", random_layers(VGG(blocks=((3, 3), (4, 4)))), old=False)
    content = bytearray((tmp_path / "net.mat").read_bytes())
    content[320] ^= 0xFF
    (tmp_path / "net.mat").write_bytes(content)
    assert "not a complete matconvnet file" in refusal(tmp_path / "net.mat", arch="vgg19")


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


def test_a_bytes_stream_of_nothing_is_not_a_network(tmp_path):
    buffer = io.BytesIO()
    np.savez(buffer, unrelated=np.zeros(3))
    (tmp_path / "net.npz").write_bytes(buffer.getvalue())
    assert "without any layer parameters" in refusal(tmp_path / "net.npz")
