"""Layers of a Caffe .caffemodel: a reader of the few protobuf messages that hold them.

Field numbers are those of caffe.proto: NetParameter {layers (V1) = 2, layer = 100}, V1LayerParameter
{name = 4, blobs = 6}, LayerParameter {name = 1, blobs = 7}, BlobProto {num, channels, height, width =
1..4, data = 5, shape = 7, double_data = 8}, BlobShape {dim = 1}.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
# field of the layer in the network -> fields of name and blobs in the layer
LAYER_FIELDS = {2: (4, 6), 100: (1, 7)}


def read_caffemodel(path: Path) -> dict[str, np.ndarray]:
    """Weights and biases of every layer, by "layer/weight" and "layer/bias"."""
    arrays: dict[str, np.ndarray] = {}
    for number, value in _fields(memoryview(path.read_bytes())):
        if number in LAYER_FIELDS and isinstance(value, memoryview):
            arrays.update(_layer(value, *LAYER_FIELDS[number]))
    return arrays


def _layer(message: memoryview, name_field: int, blobs_field: int) -> dict[str, np.ndarray]:
    name, blobs = "", []
    for number, value in _fields(message):
        if number == name_field and isinstance(value, memoryview):
            name = bytes(value).decode()
        elif number == blobs_field and isinstance(value, memoryview):
            blobs.append(_blob(value))
    return {f"{name}/{role}": blob for role, blob in zip(("weight", "bias"), blobs)}


def _blob(message: memoryview) -> np.ndarray:
    """The array of a blob; Caffe wrote four sizes at first, then a shape of any length."""
    sizes = [1, 1, 1, 1]
    shape: list[int] = []
    parts = []
    for number, value in _fields(message):
        if isinstance(value, int):
            if 1 <= number <= 4:
                sizes[number - 1] = value
        elif number in (5, 8):
            parts.append(np.frombuffer(value, "<f4" if number == 5 else "<f8").astype(np.float32))
        elif number == 7:
            shape = _dimensions(value)
    data = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    shape = shape or sizes
    if data.size != np.prod(shape, dtype=object):
        raise ValueError(f"a blob of shape {tuple(shape)} holds {data.size} numbers")
    return data.reshape(shape)


def _dimensions(message: memoryview) -> list[int]:
    found: list[int] = []
    for number, value in _fields(message):
        if number == 1 and isinstance(value, int):
            found.append(value)
        elif number == 1 and isinstance(value, memoryview):
            at = 0
            while at < len(value):
                size, at = _varint(value, at)
                found.append(size)
    return found


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field numbers and values of a message: numbers of varints, else the bytes.

    Raises:
      ValueError: bytes that are not a protobuf message, or that end too early.
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == BYTES:
            size, at = _varint(message, at)
        elif wire in (FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
        else:
            raise ValueError(f"no protobuf message: wire type {wire} at byte {at}")
        if at + size > len(message):
            raise ValueError(f"ends inside a field: expected {at + size} bytes, found {len(message)}")
        yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """An integer of seven bits a byte, lowest first, and where the next field begins."""
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise ValueError("ends inside a number")
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
