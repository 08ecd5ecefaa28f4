"""Arrays out of PyTorch and NumPy pickles without executing them.

A pickle is a program: it names functions and calls them. Here every name is looked up in a short list of
our own functions that build arrays and ordered dictionaries; any other name ends the reading.
"""

from __future__ import annotations

import mmap
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from jaxstyle.errors import JaxstyleError
from jaxstyle.weights.formats.bounds import MOST_IN_ALL, bounded, may_be_wanted

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
# PyTorch's storage classes -> little-endian dtype; bfloat16 is the upper half of a float32
STORAGES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": "<u2",
    "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "<i1",
    "ByteStorage": "<u1", "BoolStorage": "?",
}


class Storage(NamedTuple):
    """Where the numbers of a tensor lie: `numel` of class `kind` in the record `key`."""

    kind: str
    key: str
    numel: int
    start: int = 0


class Tensor(NamedTuple):
    """A strided view of a storage; its bytes are read when they are needed."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _tensor(storage: Storage, offset: int, shape: Any, strides: Any, *_: Any) -> Tensor:
    return Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes into an old pickle."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes encoded as {encoding}")
    return text.encode("latin1")


TORCH_NAMES: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch.Size": tuple,
    **{f"torch.{kind}": kind for kind in STORAGES},
}
_numpys: Any = np.zeros(1).__reduce__()[0]


def _reconstruct(kind: Any, shape: Any, dtype: Any) -> np.ndarray:
    """An empty array, as every pickled one begins: NumPy fills it afterwards."""
    if kind is not np.ndarray or tuple(shape) != (0,):
        raise pickle.UnpicklingError("an array that does not begin empty")
    empty: np.ndarray = _numpys(kind, (0,), b"b")
    return empty


NUMPY_NAMES: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    "_codecs.encode": _latin1,
}


class RestrictedUnpickler(pickle._Unpickler):  # noqa: SLF001
    """Reads a pickle that asks for nothing but the given names.

    It is the interpreter's implementation in Python, because damaged pickles can crash the one in C.

    Args:
      path: for the message of the refusal.
      names: "module.name" -> what stands for it here.
    """

    def __init__(self, file: Any, path: Path, names: Mapping[str, Any]) -> None:
        super().__init__(file, encoding="latin1")
        self.path, self.names = path, names

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of a name; refuses every other one."""
        wanted = f"{module}.{name}"
        if wanted not in self.names:
            raise JaxstyleError(
                f"{self.path}: refused: the file asks for '{wanted}', but only tensors and ordered "
                "dictionaries are read; save the model's state_dict() instead"
            )
        return self.names[wanted]

    def persistent_load(self, pid: Any) -> Storage:
        """`("storage", class, key, device, numel[, (view key, offset, size)])`, as PyTorch writes it."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise pickle.UnpicklingError("a reference that is not a storage")
        view = pid[5] if len(pid) > 5 else None
        start = int(view[1]) if view else 0
        return Storage(str(pid[1]), str(pid[2]), int(view[2] if view else pid[4]), start)


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """Convolution-like (4-D) and vector tensors of a .pth file, zip or legacy, by dotted name.

    Raises:
      JaxstyleError: the file asks for more than tensors and dictionaries.
    """
    if zipfile.is_zipfile(path):
        return _read_zip(path)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        return _read_legacy(memory, path)


def _read_zip(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith("data.pkl")]
        if not names:
            raise ValueError("no data.pkl inside")
        folder = names[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist() and archive.read(
            f"{folder}byteorder") != b"little":
            raise ValueError("big-endian numbers")
        with archive.open(names[0]) as file:
            tree = RestrictedUnpickler(file, path, TORCH_NAMES).load()
        def record(storage: Storage) -> bytes:
            """The bytes of a storage, however many more a record unpacks to."""
            with archive.open(f"{folder}data/{storage.key}") as file:
                return file.read((storage.start + storage.numel) * np.dtype(STORAGES[storage.kind]).itemsize)

        return _arrays(tree, record)


def _read_legacy(memory: mmap.mmap, path: Path) -> dict[str, np.ndarray]:
    """Four small pickles (magic, version, system, content), the storage keys, then the storages."""
    def load() -> Any:
        return RestrictedUnpickler(memory, path, TORCH_NAMES).load()

    if load() != LEGACY_MAGIC:
        raise ValueError("a pickle, but not one of PyTorch")
    load()
    if not load().get("little_endian", True):
        raise ValueError("big-endian numbers")
    tree, keys = load(), load()
    kinds = {tensor.storage.key: tensor.storage.kind for tensor in _tensors(tree).values()}
    spans = {}
    for key in map(str, keys):
        count = int.from_bytes(memory.read(8), "little")
        size = count * np.dtype(STORAGES[kinds.get(key, "FloatStorage")]).itemsize
        start = memory.tell()
        if start + size > len(memory):
            raise ValueError(f"ends inside a tensor: expected {start + size} bytes, found {len(memory)}")
        spans[key] = slice(start, start + size)
        memory.seek(size, 1)
    return _arrays(tree, lambda storage: memory[spans[storage.key]])


def _tensors(tree: Any, prefix: str = "") -> dict[str, Tensor]:
    """Every tensor in nested dictionaries, by dotted name."""
    if isinstance(tree, Tensor):
        return {prefix: tree}
    if not isinstance(tree, Mapping):
        return {}
    return {name: tensor for key, value in tree.items()
            for name, tensor in _tensors(value, f"{prefix}.{key}" if prefix else str(key)).items()}


def _arrays(tree: Any, read: Callable[[Storage], bytes]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name, tensor in _tensors(tree).items():
        if len(tensor.shape) in (1, 4) and may_be_wanted(tensor.shape):
            if not 0 <= tensor.storage.start + tensor.storage.numel <= MOST_IN_ALL:
                raise ValueError("a storage larger than any network here")
            found[name] = _view(tensor, read(tensor.storage))
            bounded(found)
    return found


def _view(tensor: Tensor, data: bytes) -> np.ndarray:
    """The array of a tensor, checked to lie inside its storage."""
    storage, _, shape, strides = tensor
    flat = np.frombuffer(data, STORAGES[storage.kind])
    if len(flat) < storage.start + storage.numel:
        raise ValueError(f"a storage of {storage.start + storage.numel} numbers holds {len(flat)}")
    offset = storage.start + tensor.offset
    last = offset + sum((size - 1) * step for size, step in zip(shape, strides))
    if offset < 0 or last >= len(flat) or min(*shape, *strides, 0) < 0:
        raise ValueError("a tensor that reaches beyond its storage")
    view = np.lib.stride_tricks.as_strided(
        flat[offset:], shape, [step * flat.itemsize for step in strides])
    if storage.kind == "BFloat16Storage":
        return (view.astype(np.uint32) << 16).view(np.float32)
    return view.copy()


def read_npy(path: Path) -> dict[str, np.ndarray]:
    """A dictionary saved by `numpy.save`: {layer: {"weights", "biases"}} or {layer: [weight, bias]}."""
    with open(path, "rb") as file:
        _skip_header(file)
        tree = RestrictedUnpickler(file, path, NUMPY_NAMES).load()
    if isinstance(tree, np.ndarray) and tree.dtype == object and tree.size == 1:
        tree = tree.reshape(-1)[0]
    if not isinstance(tree, Mapping):
        raise ValueError("not a dictionary of layers")
    found = {}
    for layer, parts in tree.items():
        if not isinstance(parts, Mapping):
            parts = dict(zip(("weight", "bias"), parts)) if isinstance(parts, list | tuple) else {}
        found.update({f"{layer}/{role}": np.asarray(part) for role, part in parts.items()})
    return found


def _skip_header(file: BinaryIO) -> None:
    """To the pickle inside a .npy file; a plain array has none."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    _, _, dtype = read[version](file)
    if not dtype.hasobject:
        raise ValueError("a single array, not a dictionary of layers")
