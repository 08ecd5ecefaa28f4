"""A trained network with its card: one safetensors file, or a folder.

A file holds the tensors `c1/kernel` `[kh, kw, in, out]`, `c1/scale` `[styles, channels]`, … and, for batch
norm, `statistics/c1/mean`, …; its metadata hold the network's attributes and the card as JSON. A folder
holds the same tensors in an Orbax checkpoint, `parameters`, beside `card.json`.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array
from safetensors import safe_open
from safetensors.numpy import save

from jaxstyle.atomic import write_whole
from jaxstyle.backbones.perceptual import attributes_of
from jaxstyle.errors import JaxstyleError
from jaxstyle.fast.card import (
    CARD_FILE,
    FORMAT,
    VERSION,
    Card,
    card_in,
    card_json,
    first_line,
    network_in,
    read_header,
)
from jaxstyle.fast.network import StyleNetwork, initial
from jaxstyle.weights import SUFFIX
from jaxstyle.weights.store import content_sha256

PARAMETERS = "parameters"
PRECISIONS = ("float32", "float16")


@dataclasses.dataclass(frozen=True)
class Model:
    """A network with its numbers.

    Attributes:
      params: layer name -> {"kernel", "bias" or "scale" and "offset"}, float32.
      statistics: layer name -> {"mean", "variance"} of batch norm, else empty.
    """

    network: StyleNetwork
    params: dict[str, Any]
    statistics: dict[str, Any]
    card: Card


def shares(model: Model, blend: Mapping[str, float] | None = None) -> Array:
    """Share of each style `[styles]`, scaled to sum to 1; nothing given: the first style alone.

    Raises:
      JaxstyleError: a style that the model does not have, a negative share, or all of them zero.
    """
    if not blend:
        return jnp.zeros(model.network.styles).at[0].set(1)
    values = np.zeros(model.network.styles, np.float32)
    for name, share in blend.items():
        values[style_index(model, name)] = share
        if not np.isfinite(share) or share < 0:
            raise JaxstyleError(f"share of style '{name}' is {share}; shares are not negative")
    if values.sum() == 0:
        raise JaxstyleError("every share of the blend is 0; give one style a share above 0")
    return jnp.asarray(values / values.sum())


def numbers_sha256(model: Model) -> str:
    """Hex SHA-256 of all numbers of a model."""
    return content_sha256(_tensors(model, np.float32))


def style_index(model: Model, name: str) -> int:
    """Place of a style by its name.

    Raises:
      JaxstyleError: naming the styles that the model has.
    """
    if name not in model.card.styles:
        raise JaxstyleError(f"model '{model.card.name}' has no style '{name}'; it has "
                            f"{', '.join(model.card.styles)}")
    return model.card.styles.index(name)


def write_model(path: str | os.PathLike[str], model: Model, precision: str = "float32",
                overwrite: bool = True) -> None:
    """Write a model: a path that ends in `.safetensors` as one file, any other as a folder.

    Args:
      precision: of the numbers in the file; "float16" halves it.

    Raises:
      JaxstyleError: the place cannot be written.
    """
    path = Path(path)
    tensors = _tensors(model, np.float16 if precision == "float16" else np.float32)
    header = {"format": FORMAT, "format_version": str(VERSION), "card": json.dumps(card_json(model.card)),
              "network": json.dumps(attributes_of(model.network)), "content_sha256": content_sha256(tensors)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JaxstyleError(f"{path}: cannot be written ({error.strerror})") from None
    if path.suffix == SUFFIX:
        write_whole(path, save(tensors, header), overwrite)
        return
    if path.exists() and not path.is_dir():
        raise JaxstyleError(f"{path}: is a file; name a folder, or a file that ends in {SUFFIX}")
    if (path / CARD_FILE).exists() and not overwrite:
        raise JaxstyleError(f"{path}: holds a model already; choose another name or allow overwriting")
    try:
        import orbax.checkpoint as ocp  # takes a second to import

        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(path.absolute() / PARAMETERS, unflatten_dict(tensors, sep="/"), force=True)
    except (OSError, ValueError) as error:
        raise JaxstyleError(f"{path}: cannot be written ({first_line(error)})") from None
    write_whole(path / CARD_FILE, json.dumps(header, indent=1).encode())


def read_model(path: str | os.PathLike[str], name: str = "") -> Model:
    """A model from a file or a folder that `write_model` made.

    Raises:
      JaxstyleError: missing, damaged, of a newer version, or something else than such a model.
    """
    path = Path(path)
    header = read_header(path)
    network, card = network_in(header, path), card_in(header, path)
    tensors = _read_folder(path) if path.is_dir() else _read_file(path)
    if content_sha256(tensors) != header["content_sha256"]:
        raise JaxstyleError(f"{path}: damaged: its numbers are not those that were written; get it again")
    try:
        model = _model(network, tensors, card)
    except JaxstyleError as error:
        raise JaxstyleError(f"{path}: {error}") from None
    return dataclasses.replace(model, card=dataclasses.replace(model.card, name=name)) if name else model


def _tensors(model: Model, kind: Any) -> dict[str, np.ndarray]:
    """All numbers by path; statistics stay float32, whose range variances may need."""
    flat = {name: np.ascontiguousarray(np.asarray(value, kind))
            for name, value in flatten_dict(model.params, sep="/").items()}
    for name, value in flat.items():
        if not np.isfinite(value).all():
            raise JaxstyleError(f"{name} holds numbers that are not finite or too large for this precision; "
                                "write float32, or train with a smaller learning rate")
    return {**flat, **{f"statistics/{name}": np.ascontiguousarray(np.asarray(value, np.float32))
                       for name, value in flatten_dict(model.statistics, sep="/").items()}}


def _model(network: StyleNetwork, tensors: Mapping[str, np.ndarray], card: Card) -> Model:
    """The numbers as float32, if they are those that the network wants.

    Raises:
      JaxstyleError: a number is missing, superfluous or misshapen.
    """
    if len(card.styles) != network.styles:
        raise JaxstyleError(f"names {len(card.styles)} styles for a network of {network.styles}")
    expected: dict[str, tuple[int, ...]] = {}
    for layer in network.layers:
        shapes = jax.eval_shape(lambda key, layer=layer: initial(layer, network, key), jax.random.key(0))
        expected |= {f"{layer.name}/{key}": value.shape for key, value in shapes.items()}
        if network.norm == "batch" and layer.normalised:
            expected |= {f"statistics/{layer.name}/{key}": (layer.outputs,) for key in ("mean", "variance")}
    found = {name: value.shape for name, value in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise JaxstyleError(f"{name} is {found.get(name, 'missing')}, not {expected.get(name, 'wanted')}")
    tree = unflatten_dict({name: jnp.asarray(value, jnp.float32) for name, value in tensors.items()}, sep="/")
    statistics = tree.pop("statistics", {})
    return Model(network=network, params=tree, statistics=statistics, card=card)


def _read_file(path: Path) -> dict[str, np.ndarray]:
    with safe_open(str(path), framework="numpy") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def _read_folder(path: Path) -> dict[str, np.ndarray]:
    try:
        import orbax.checkpoint as ocp  # takes a second to import

        with ocp.StandardCheckpointer() as checkpointer:
            tree = checkpointer.restore(path.absolute() / PARAMETERS)
    except Exception as error:  # noqa: BLE001  damaged arrays make Orbax raise nearly any type
        raise JaxstyleError(f"{path}: its {PARAMETERS} cannot be read ({first_line(error)}); get it "
                            "again") from None
    return {name: np.asarray(value) for name, value in flatten_dict(tree, sep="/").items()}


def style_names(paths: Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    """Names for paintings: their files' names, made different where two are equal."""
    found: list[str] = []
    for path in paths:
        stem = Path(path).stem
        name, number = stem, 2
        while name in found:
            name, number = f"{stem}_{number}", number + 1
        found.append(name)
    return tuple(found)
