"""Networks that other programs trained, as `StyleNetwork`s.

Both programs feed RGB in 0..255; here images are in [0, 1], so the factor goes into the first kernel.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxstyle.errors import JaxstyleError
from jaxstyle.fast.card import Card
from jaxstyle.fast.model import Model
from jaxstyle.fast.network import StyleNetwork

# The variables of lengstrom/fast-style-transfer come in order of creation: kernel, offset, scale per layer.
_PER_LAYER = 3
_WHITE = 255.0


def import_network(path: str | Path, name: str = "") -> Model:
    """The network in a NumPy file of pytorch/examples' or Engstrom's variables.

    Raises:
      JaxstyleError: the file is missing, damaged or holds something else.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            tensors = {key: np.asarray(file[key], np.float32) for key in file.files}
    except FileNotFoundError:
        raise JaxstyleError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise JaxstyleError(f"{path}: not a whole NumPy archive of plain numbers ({error})") from None
    try:
        if "c1.w" in tensors:
            network, params = _pytorch_examples(tensors)
        elif "Variable" in tensors:
            network, params = _lengstrom(tensors)
        else:
            raise KeyError("c1.w or Variable")
    except (KeyError, ValueError) as error:
        raise JaxstyleError(f"{path}: is no network of pytorch/examples or of lengstrom/fast-style-transfer "
                            f"({' '.join(str(error).split())} is missing or misshapen)") from None
    styles = (name or path.stem,)
    return Model(network=network, params=params, statistics={}, card=Card(
        name=styles[0], styles=styles, origin=path.name))


def _checked(params: dict[str, Any], network: StyleNetwork) -> dict[str, Any]:
    """The parameters as JAX arrays, if they have the shapes that the network wants.

    Raises:
      ValueError: naming the layer.
    """
    for layer in network.layers:
        shape = (layer.size, layer.size, layer.inputs, layer.outputs)
        if params[layer.name]["kernel"].shape != shape:
            raise ValueError(f"{layer.name} {shape}")
    return {name: {key: jnp.asarray(value) for key, value in layer.items()}
            for name, layer in params.items()}


def _pytorch_examples(tensors: Mapping[str, np.ndarray]) -> tuple[StyleNetwork, dict[str, Any]]:
    """pytorch/examples fast_neural_style: O,I,H,W, instance norm, nearest enlargement, linear 0..255.

    A norm follows every bias but the last, which takes it away again: those biases are dropped.
    """
    network = StyleNetwork(norm="instance", output="linear")
    params: dict[str, Any] = {}
    theirs = {"d1": "c2", "d2": "c3", "u1": "d1", "u2": "d2", "out": "d3"}
    for layer in network.layers:
        key = theirs.get(layer.name, layer.name)
        kernel = tensors[f"{key}.w"].transpose(2, 3, 1, 0)
        if layer.name == "out":
            params["out"] = {"kernel": kernel / _WHITE, "bias": tensors["d3.b"] / _WHITE}
            continue
        params[layer.name] = {"kernel": kernel * _WHITE if layer.name == "c1" else kernel,
                              "scale": tensors[f"{key}.gamma"][None], "offset": tensors[f"{key}.beta"][None]}
    return network, _checked(params, network)


def _lengstrom(tensors: Mapping[str, np.ndarray]) -> tuple[StyleNetwork, dict[str, Any]]:
    """lengstrom/fast-style-transfer: zero padding as TensorFlow's SAME, transposed convolutions, a norm after
    every layer with ε 1e-3, tanh · 150 + 127.5.

    A transposed kernel is stored H,W,O,I and laid out by its own point reflection.
    """
    network = StyleNetwork(norm="instance", upsample="transposed", padding="zero", output_norm=True,
                           alignment="tensorflow", epsilon=1e-3)
    params: dict[str, Any] = {}
    for i, layer in enumerate(network.layers):
        kernel, offset, scale = (tensors["Variable" if k == 0 else f"Variable_{k}"]
                                 for k in range(_PER_LAYER * i, _PER_LAYER * i + _PER_LAYER))
        if layer.up:
            kernel = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
        params[layer.name] = {"kernel": kernel * _WHITE if layer.name == "c1" else kernel,
                              "scale": scale[None], "offset": offset[None]}
    return network, _checked(params, network)
