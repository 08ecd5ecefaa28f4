"""One image over several devices: each holds a band of rows.

A program compiled for such an image is split by XLA: convolutions exchange the rows at the edges of
bands, Gram matrices and losses are summed over devices. No operation needs to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import jax
import numpy as np
from jax import Array
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
    return jax.device_put(image, NamedSharding(_mesh(devices), PartitionSpec("rows")))


def replicate(tree: T, devices: Sequence[jax.Device]) -> T:
    """Every array of `tree` (weights, targets) on all of the devices that share an image."""
    return jax.device_put(tree, NamedSharding(_mesh(devices), PartitionSpec()))


def _mesh(devices: Sequence[jax.Device]) -> Mesh:
    return Mesh(np.asarray(devices), ("rows",))
