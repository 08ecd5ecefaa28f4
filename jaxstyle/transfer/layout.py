"""Where a run lives: one image on one device, its rows over several, or many images, one in each lane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxstyle.ops.sharding import keep_rows, row_shardings, split_images

T = TypeVar("T")
LANES = "lanes"
Devices = tuple[jax.Device, ...]
"""Those that share one image, by rows; none: it is whole on one."""


def lane_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """One axis of lanes over the devices of this process (or those given)."""
    return Mesh(np.array(devices or jax.local_devices()), (LANES,))


class Layout(NamedTuple):
    """Which devices hold what; nothing given: one image, whole, on the first.

    Attributes:
      rows: devices that share one image, by rows.
      lanes: mesh over which lanes are spread; every array of a lane has a leading axis over lanes then.
      shared: all lanes have the same references, which have no lane axis then.
    """

    rows: Devices = ()
    lanes: Mesh | None = None
    shared: bool = False

    @property
    def alone(self) -> bool:
        """Whether it is one image, whole, on one device."""
        return self.lanes is None and not self.rows

    def over_lanes(self, fun: Callable[..., Any], mapped: Sequence[bool]) -> Callable[..., Any]:
        """`fun` for every lane: arguments that are `mapped`, and all results, have the axis over lanes.

        Each device runs its own lanes: a single one by the very program of a single run, several in lock
        step.
        """
        if self.lanes is None:
            return fun

        def local(*arguments: Any) -> Any:
            count = next(jax.tree.leaves(x)[0].shape[0] for x, m in zip(arguments, mapped)
                         if m and jax.tree.leaves(x))
            if count > 1:
                return jax.vmap(fun, in_axes=tuple(0 if m else None for m in mapped))(*arguments)
            only = (jax.tree.map(lambda leaf: leaf[0], x) if m else x for x, m in zip(arguments, mapped))
            return jax.tree.map(lambda leaf: leaf[None], fun(*only))

        specs = tuple(P(LANES) if m else P() for m in mapped)
        return jax.shard_map(local, mesh=self.lanes, in_specs=specs, out_specs=P(LANES), check_vma=False)

    def split(self, tree: T) -> T:
        """Within a program: images `[H, W, C]` of any number of rows, split by rows."""
        return split_images(tree, self.rows)

    def keep(self, tree: T, shape: tuple[int, ...] | None) -> T:
        """Within a program: what has the shape of the image split by rows, all else everywhere."""
        return keep_rows(tree, shape, self.rows)

    def places(self, tree: Any, shape: tuple[int, ...] | None = None, common: bool = False) -> Any:
        """Where arrays belong unless all is `alone`. `common`: they are no lane's own."""
        if self.lanes is None:
            return row_shardings(tree, shape, self.rows)
        place = NamedSharding(self.lanes, P() if common else P(LANES))
        return jax.tree.map(lambda _: place, tree)

    def put(self, tree: T, shape: tuple[int, ...] | None = None, common: bool = False) -> T:
        """Arrays in their places; see `places`."""
        return tree if self.alone else jax.device_put(tree, self.places(tree, shape, common))

    def shapes(self, tree: Any, shape: tuple[int, ...] | None = None, common: bool = False) -> Any:
        """Shapes of arrays in their places, to compile programs from; see `places`."""
        if self.alone:
            return jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)), tree)
        return jax.tree.map(lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), tree,
                            self.places(tree, shape, common))


ALONE = Layout()
