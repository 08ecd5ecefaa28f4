"""Readers of foreign weights files, each by itself: restricted pickles, Caffe's messages, .mat cells."""

import io
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from foreign import (
    caffe_blob,
    message,
    oihw,
    varint,
    write_caffemodel,
    write_matconvnet,
    write_torch_legacy,
    write_torch_zip,
)
from hypothesis import given
from hypothesis import strategies as st

from jaxstyle.errors import JaxstyleError
from jaxstyle.weights.formats.caffe import _blob, _fields, _varint, read_caffemodel
from jaxstyle.weights.formats.matconvnet import read_mat
from jaxstyle.weights.formats.torch import NUMPY_NAMES, TORCH_NAMES, RestrictedUnpickler, read_npy, read_torch

RNG = np.random.default_rng(0)
LAYERS = {"conv1": (RNG.standard_normal((3, 3, 2, 4), np.float32), RNG.standard_normal(4, np.float32)),
          "conv2": (RNG.standard_normal((1, 1, 4, 5), np.float32), RNG.standard_normal(5, np.float32))}


def unpickled(content, names=TORCH_NAMES):
    return RestrictedUnpickler(io.BytesIO(content), Path("x.pth"), names).load()


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_plain_values_come_through_a_pickle(protocol):
    value = OrderedDict(a=[1, 2.5, None, True], b=("text", {"c": b"bytes"}))
    if protocol < 3:  # bytes are made by a function there
        value["b"] = ("text", {"c": "letters"})
    assert unpickled(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("thing", [print, eval, Path("x"), slice(1), np.float32(1), JaxstyleError])
@pytest.mark.parametrize("names", [TORCH_NAMES, NUMPY_NAMES])
def test_a_pickle_gets_nothing_that_is_not_listed(thing, names):
    with pytest.raises(JaxstyleError, match=r"x\.pth: refused: the file asks for '[\w.]+'"):
        unpickled(pickle.dumps(thing, 4), names)


@given(st.binary(max_size=60))
def test_random_bytes_are_no_pickle_and_run_nothing(content):
    try:
        value = unpickled(content)
    except Exception as error:
        assert not isinstance(error, SystemExit | KeyboardInterrupt)
    else:
        pickle.dumps(value)  # plain data alone


@pytest.mark.parametrize("write", [write_torch_zip, write_torch_legacy])
def test_tensors_of_a_torch_file(tmp_path, write):
    arrays = {name: array for name, (kernel, bias) in LAYERS.items()
              for name, array in ((f"{name}.weight", oihw(kernel)), (f"{name}.bias", bias))}
    write(tmp_path / "net.pth", arrays)
    found = read_torch(tmp_path / "net.pth")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_a_pickled_dictionary_of_numpy_arrays(tmp_path):
    arrays = {"conv1_1": [LAYERS["conv1"][0], LAYERS["conv1"][1]]}
    np.save(tmp_path / "net.npy", np.array(arrays, object), allow_pickle=True)
    found = read_npy(tmp_path / "net.npy")
    np.testing.assert_array_equal(found["conv1_1/weight"], arrays["conv1_1"][0])


@pytest.mark.parametrize("old", [True, False])
def test_layers_of_a_caffemodel(tmp_path, old):
    write_caffemodel(tmp_path / "net.caffemodel", LAYERS, old)
    found = read_caffemodel(tmp_path / "net.caffemodel")
    assert set(found) == {"conv1/weight", "conv1/bias", "conv2/weight", "conv2/bias"}
    for name, (kernel, bias) in LAYERS.items():
        np.testing.assert_array_equal(found[f"{name}/weight"], oihw(kernel))
        np.testing.assert_array_equal(found[f"{name}/bias"].ravel(), bias)


@given(st.integers(0, 2**63 - 1), st.binary(max_size=3))
def test_numbers_of_a_message(value, rest):
    code = varint(value)
    assert _varint(memoryview(code + rest), 0) == (value, len(code))


@given(st.lists(st.tuples(st.integers(1, 500), st.binary(max_size=9) | st.integers(0, 2**32)), max_size=6))
def test_fields_of_a_message(fields):
    code = b"".join(message(number, value) if isinstance(value, bytes)
                    else varint(number << 3) + varint(value) for number, value in fields)
    found = [(number, bytes(value) if isinstance(value, memoryview) else value)
             for number, value in _fields(memoryview(code))]
    assert found == fields


@given(st.binary(max_size=40))
def test_random_bytes_are_no_message(content):
    try:
        list(_fields(memoryview(content)))
    except ValueError as error:
        assert str(error).startswith(("ends inside", "no protobuf message"))


def test_a_blob_with_too_few_numbers():
    blob = caffe_blob(np.zeros((2, 3), np.float32), old=False)
    np.testing.assert_array_equal(_blob(memoryview(blob)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"a blob of shape \(4, 3\) holds 6 numbers"):
        _blob(memoryview(blob + message(7, message(1, varint(4) + varint(3)))))


@pytest.mark.parametrize("old", [True, False])
def test_cells_of_a_mat_file(tmp_path, old):
    write_matconvnet(tmp_path / "net.mat", LAYERS, old)
    found = read_mat(tmp_path / "net.mat")
    assert set(found) == {"conv1/weight", "conv1/bias", "conv2/weight", "conv2/bias"}
    for name, (kernel, bias) in LAYERS.items():
        np.testing.assert_array_equal(found[f"{name}/weight"], kernel)
        np.testing.assert_array_equal(found[f"{name}/bias"].ravel(), bias)


def test_a_mat_file_without_layers(tmp_path):
    scipy.io.savemat(tmp_path / "net.mat", {"numbers": np.arange(3)})
    with pytest.raises(ValueError, match="no variable 'layers'"):
        read_mat(tmp_path / "net.mat")
