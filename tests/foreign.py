"""Writers of other programs' weights files, byte by byte where those programs are not here."""

from __future__ import annotations

import pickle
import struct
import zipfile

import h5py
import numpy as np
import scipy.io

from jaxstyle.backbones import parameter_shapes

NARROW = ((5, 6), (7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))
SQUEEZE_MODULES = {2: 3, 3: 4, 4: 6, 5: 7, 6: 9, 7: 10, 8: 11, 9: 12}


def random_layers(network, seed=0):
    """own name -> kernel HWIO and bias, of the shapes that a network has."""
    rng = np.random.default_rng(seed)
    return {name: (rng.standard_normal(shape, np.float32), rng.standard_normal(shape[-1], np.float32))
            for name, shape in parameter_shapes(network).items()}


def oihw(kernel):
    return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))


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


def write_npz(path, layers):
    np.savez(path, **{f"{name}/{role}": array for name, (kernel, bias) in layers.items()
                      for role, array in (("weight", oihw(kernel)), ("bias", bias))})
    return path
