"""Ports: whatever is wrong with a file is said in one line, and nothing in it is executed."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from foreign import (
    NARROW,
    integers,
    oihw,
    random_layers,
    torch_pickle,
    unicode,
    write_caffemodel,
    write_keras,
    write_matconvnet,
    write_npz,
    write_torch_legacy,
    write_torch_zip,
)

from jaxstyle import backbones
from jaxstyle.backbones import VGG
from jaxstyle.errors import JaxstyleError
from jaxstyle.weights.port import arrange, port


@pytest.fixture(scope="module")
def squeezenet():
    return random_layers(backbones.build("squeezenet1_1", {}))


@pytest.fixture(scope="module")
def narrow():
    return random_layers(VGG(blocks=NARROW))


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
        text = refusal(path)
        assert "beyond its storage" in text or "without any layer parameters" in text


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
    assert "say which of" in refusal(source)
    assert "no such file" in refusal(tmp_path / "absent.npz")
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
    """Byte 320 turned over once took SciPy's compiled reader to a segmentation fault."""
    write_matconvnet(tmp_path / "net.mat", random_layers(VGG(blocks=((3, 3), (4, 4)))), old=False)
    content = bytearray((tmp_path / "net.mat").read_bytes())
    content[320] ^= 0xFF
    (tmp_path / "net.mat").write_bytes(content)
    assert "not a complete matconvnet file" in refusal(tmp_path / "net.mat", arch="vgg19")


def test_a_bytes_stream_of_nothing_is_not_a_network(tmp_path):
    buffer = io.BytesIO()
    np.savez(buffer, unrelated=np.zeros(3))
    (tmp_path / "net.npz").write_bytes(buffer.getvalue())
    assert "without any layer parameters" in refusal(tmp_path / "net.npz")
