"""A trained network as an ONNX graph, node by node: the network is a row of layers that ONNX knows."""

from __future__ import annotations

from typing import Any

import numpy as np
from jax import Array

from jaxstyle.errors import JaxstyleError
from jaxstyle.fast.model import Model
from jaxstyle.fast.network import MULTIPLE, TANH_SCALE, Layer, StyleNetwork
from jaxstyle.ops.reference import PAD_MODES

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ModuleNotFoundError:
    raise JaxstyleError("writing .onnx needs two packages more: pip install 'jaxstyle[export]'") from None

OPSET = 19
"""Version of ONNX's operators, of 2023: those of later ones are not needed."""
IMAGE, RESULT = "image", "stylized"


class Graph:
    """Nodes and constants of a graph under construction, and shorthand for adding them."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """Name of an array that the graph holds."""
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Name of what an operator makes of its inputs."""
        name = output or f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def padded(self, x: str, before: int, after: int, border: str) -> str:
        """`[1, C, h, w]` continued outside by some pixels on each side."""
        if not before and not after:
            return x
        pads = self.constant([0, 0, before, before, 0, 0, after, after], np.int64)
        return self.add("Pad", x, pads, mode=PAD_MODES[border])


def onnx_program(model: Model, share: Array) -> bytes:
    """The model with fixed shares of its styles `[styles]` as an ONNX file.

    Input "image" `[1, 3, H, W]` and output "stylized" of equal shape, RGB in [0, 1], float32, of any height
    and width from 8 pixels on.
    """
    network, graph = model.network, Graph()
    x = whole_blocks(graph, IMAGE)
    kept = x
    for layer in network.layers:
        if layer.block:
            kept = x
        y = convolved(graph, network, layer, model.params[layer.name], x)
        if layer.normalised:
            y = normalised(graph, model, layer, np.asarray(share), y)
        x = activated(graph, network, layer, y, kept)
    ends = graph.add("Slice", graph.add("Shape", IMAGE), graph.constant([2], np.int64),
                     graph.constant([4], np.int64))
    cropped = graph.add("Slice", x, graph.constant([0, 0], np.int64), ends, graph.constant([2, 3], np.int64))
    graph.add("Clip", cropped, graph.constant(0.0), graph.constant(1.0), output=RESULT)
    shape: list[str | int | None] = [1, 3, "height", "width"]
    made = helper.make_model(
        helper.make_graph(graph.nodes, model.card.name or "style",
                          [helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, shape)],
                          [helper.make_tensor_value_info(RESULT, TensorProto.FLOAT, shape)], graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)], producer_name="jaxstyle", ir_version=9)
    onnx.checker.check_model(made, full_check=True)
    data: bytes = made.SerializeToString()
    return data


def whole_blocks(graph: Graph, image: str) -> str:
    """The image continued below and to the right, by reflection, to multiples of `MULTIPLE`."""
    size = graph.add("Slice", graph.add("Shape", image), graph.constant([2], np.int64),
                     graph.constant([4], np.int64))
    # Mod takes the sign of its divisor.
    missing = graph.add("Mod", graph.add("Neg", size), graph.constant([MULTIPLE], np.int64))
    pads = graph.add("Concat", graph.constant([0] * 6, np.int64), missing, axis=0)
    return graph.add("Pad", image, pads, mode="reflect")


def convolved(graph: Graph, network: StyleNetwork, layer: Layer, params: Any, x: str) -> str:
    """The convolution of one layer, as `network.convolved`."""
    kernel = np.asarray(params["kernel"])
    bias = graph.constant(np.asarray(params.get("bias", np.zeros(layer.outputs))))
    if layer.up and network.upsample == "transposed":
        flipped = graph.constant(kernel[::-1, ::-1].transpose(2, 3, 0, 1))
        first, last = (1, 1) if network.alignment == "centred" else (0, 0)
        return graph.add("ConvTranspose", x, flipped, bias, strides=[2, 2], pads=[first, first, 1, 1],
                         output_padding=[last, last])
    if layer.up:
        how: dict[str, Any] = {"mode": "nearest", "nearest_mode": "floor"}
        if network.upsample == "bilinear":
            how = {"mode": "linear"}
        x = graph.add("Resize", x, "", graph.constant([1, 1, 2, 2]), **how,
                      coordinate_transformation_mode="asymmetric" if "nearest_mode" in how else "half_pixel")
    after = layer.size // 2
    before = 0 if layer.stride == 2 and network.alignment == "tensorflow" else after
    x = graph.padded(x, before, after, network.padding)
    return graph.add("Conv", x, graph.constant(kernel.transpose(3, 2, 0, 1)), bias,
                     strides=[layer.stride] * 2)


def normalised(graph: Graph, model: Model, layer: Layer, share: np.ndarray, x: str) -> str:
    """The norm of one layer in the style that the shares mix."""
    params = model.params[layer.name]
    scale, offset = (share @ np.asarray(params[name]) for name in ("scale", "offset"))
    if layer.name not in model.statistics:
        return graph.add("InstanceNormalization", x, graph.constant(scale), graph.constant(offset),
                         epsilon=model.network.epsilon)
    known = model.statistics[layer.name]
    factor = scale / np.sqrt(np.asarray(known["variance"]) + model.network.epsilon)
    moved = offset - np.asarray(known["mean"]) * factor
    return graph.add("Add", graph.add("Mul", x, graph.constant(factor[:, None, None])),
                     graph.constant(moved[:, None, None]))


def activated(graph: Graph, network: StyleNetwork, layer: Layer, y: str, kept: str) -> str:
    """What follows the norm, as `network.activated`."""
    if layer.name != "out":
        y = graph.add("Add", y, kept) if layer.skip else y
        return graph.add("Relu", y) if layer.relu else y
    if network.output == "tanh":
        scaled = graph.add("Mul", graph.add("Tanh", y), graph.constant(TANH_SCALE))
        return graph.add("Add", scaled, graph.constant(0.5))
    return graph.add("Sigmoid", y) if network.output == "sigmoid" else y
