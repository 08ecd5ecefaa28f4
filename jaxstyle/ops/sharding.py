"""One image over several devices: each holds a band of rows.

A program compiled for such an image is split by XLA: convolutions exchange the rows at the edges of
bands, Gram matrices and losses are summed over devices. No operation needs to know.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxstyle.errors import JaxstyleError

T = TypeVar("T")


def shard_rows(image: Array, devices: Sequence[jax.Device]) -> Array:
    """An image `[H, W, C]` with H / len(devices) rows on each device.

    Raises:
      JaxstyleError: H is no multiple of the number of devices.
    """
    if image.shape[0] % len(devices):
        raise JaxstyleError(
            f"an image of {image.shape[0]} rows cannot be split over {len(devices)} devices; "
            "choose a size that is a multiple of their number"
        )
    split: Array = jax.device_put(image, NamedSharding(_mesh(devices), PartitionSpec("rows")))
    return split


def replicate(tree: T, devices: Sequence[jax.Device]) -> T:
    """Every array of `tree` (weights, targets) on all of the devices that share an image."""
    copied: T = jax.device_put(tree, NamedSharding(_mesh(devices), PartitionSpec()))
    return copied


def row_shardings(tree: Any, shape: tuple[int, ...] | None, devices: Sequence[jax.Device]) -> Any:
    """Where each array of `tree` goes if images of a shape `(H, W, C)` are split by rows.

    Images, also stacked (`[..., H, W, C]`) or flat (`[..., H·W·C]`), are split; all else is everywhere, as is
    everything for no shape.
    """
    mesh = _mesh(devices)

    def place(leaf: Any) -> NamedSharding:
        for axes in (shape, (math.prod(shape),)) if shape else ():
            before = len(leaf.shape) - len(axes)
            if before >= 0 and tuple(leaf.shape[before:]) == tuple(axes):
                return NamedSharding(mesh, PartitionSpec(*[None] * before, "rows"))
        return NamedSharding(mesh, PartitionSpec())

    return jax.tree.map(place, tree)


def keep_rows(tree: T, shape: tuple[int, ...] | None, devices: Sequence[jax.Device]) -> T:
    """Within a compiled function: `tree` placed by `row_shardings`, if there are devices."""
    return lax.with_sharding_constraint(tree, row_shardings(tree, shape, devices)) if devices else tree


def split_images(tree: T, devices: Sequence[jax.Device]) -> T:
    """Within a compiled function: every image `[H, W, C]` of `tree` split by rows, of whatever number."""
    split = NamedSharding(_mesh(devices), PartitionSpec("rows")) if devices else None
    return tree if split is None else jax.tree.map(lambda x: lax.with_sharding_constraint(x, split), tree)


def _mesh(devices: Sequence[jax.Device]) -> Mesh:
    return Mesh(np.asarray(devices), ("rows",))
