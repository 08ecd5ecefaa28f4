"""A trained network on pictures: styles blended or laid out in regions, strength, colours, large images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxstyle import ops
from jaxstyle.errors import JaxstyleError
from jaxstyle.fast.model import Model, shares, style_index
from jaxstyle.fast.network import StyleNetwork, stylized
from jaxstyle.fast.tiles import bytes_for, rows_within, stylized_in_bands
from jaxstyle.images.folder import READ
from jaxstyle.ops.colors.spaces import with_colours_of
from jaxstyle.ops.resize import resize_to

AHEAD = 2
T = TypeVar("T")


@dataclass(frozen=True)
class Look:
    """How a picture is to look.

    Attributes:
      blend: style -> share; empty: the first style.
      regions: style -> mask `[h, w]` in [0, 1] of any size, where that style is; elsewhere the blend.
      strength: 0 the photo … 1 the style; keep_colors: only brightness comes from the style.
      memory: bytes that a picture may take; more is computed in bands. None: all at once.
    """

    blend: Mapping[str, float]
    regions: Mapping[str, Any]
    strength: float = 1.0
    keep_colors: bool = False
    memory: int | None = None


def check_look(model: Model, look: Look) -> None:
    """Raise before any work unless the model can do it.

    Raises:
      JaxstyleError: an unknown style, a blend of zeros, a strength outside [0, 1].
    """
    shares(model, look.blend)
    for name in look.regions:
        style_index(model, name)
    if not 0 <= look.strength <= 1:
        raise JaxstyleError(f"strength is {look.strength}; it lies between 0 (the photo) and 1 (the style)")


def prepared(model: Model, precision: str = "float32") -> Model:
    """The model with filters in the form that computes fastest; it compiles more slowly."""
    return Model(model.network, ops.prepare(model.params, precision), model.statistics, model.card)


def restyled(model: Model, image: Any, look: Look) -> np.ndarray:
    """A picture `[H, W, 3]` in [0, 1] in a model's style, of equal shape, in [0, 1].

    Raises:
      JaxstyleError: as `check_look`.
    """
    check_look(model, look)
    image = np.asarray(image, np.float32)
    share = shares_at(model, look, image.shape[:2])
    network = model.network
    if look.memory is not None and bytes_for(network, *image.shape[:2]) > look.memory:
        rows = rows_within(network, image.shape[1], look.memory)
        y: Any = stylized_in_bands(network, model.params, image, np.asarray(share), rows, model.statistics)
    else:
        y = _whole(network, model.params, model.statistics, image, share)
    return np.asarray(_ended(y, image, look.strength, look.keep_colors))


@partial(jax.jit, static_argnums=0)
def _whole(network: StyleNetwork, params: Any, statistics: Any, image: Array, share: Array) -> Array:
    return stylized(network, params, image, share, statistics)


def shares_at(model: Model, look: Look, shape: tuple[int, ...]) -> Array:
    """Share of each style, `[styles]`; with regions at every pixel, `[H, W, styles]`.

    Where masks overlap they share; where they leave room the blend fills it.
    """
    rest = shares(model, look.blend)
    if not look.regions:
        return rest
    height, width = shape
    masks = {style_index(model, name): jnp.clip(resize_to(jnp.asarray(mask), height, width, "linear"), 0, 1)
             for name, mask in look.regions.items()}
    total: Any = sum(masks.values())
    room = jnp.maximum(1 - total, 0)[..., None] * rest[None, None]
    over = jnp.maximum(total, 1)
    for index, mask in masks.items():
        room = room.at[..., index].add(mask / over)
    return room


@partial(jax.jit, static_argnums=3)
def _ended(y: Array, image: Array, strength: Array, keep_colors: bool) -> Array:
    """Colours of the photo where they are kept, then a mixture with it."""
    y = jnp.clip(y, 0, 1)
    if keep_colors:
        y = with_colours_of(y, image)
    return jnp.clip(image + strength * (y - image), 0, 1)


def pictures(given: Sequence[str]) -> list[Path]:
    """Files out of files, folders and patterns such as `photos/*.jpg`, each once, in order.

    Raises:
      JaxstyleError: a name that stands for no picture.
    """
    found: dict[Path, None] = {}
    for text in given:
        path = Path(text)
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix.lower() in READ)
        elif any(sign in text for sign in "*?["):
            root = Path(path.anchor) if path.is_absolute() else Path()
            pattern = str(path.relative_to(root)) if path.is_absolute() else text
            files = sorted(file for file in root.glob(pattern) if file.suffix.lower() in READ)
        else:
            files = [path]
        if not files:
            raise JaxstyleError(f"{text}: holds no pictures ({', '.join(READ)})")
        found.update(dict.fromkeys(files))
    return list(found)


def ahead(work: Callable[[Path], T], paths: Iterable[Path], count: int = AHEAD
          ) -> Iterator[tuple[Path, T | JaxstyleError]]:
    """`work` of each path, begun in a thread up to `count` ahead; an error comes in the result's place."""
    def tried(path: Path) -> T | JaxstyleError:
        try:
            return work(path)
        except JaxstyleError as error:
            return error

    with ThreadPoolExecutor(1) as pool:
        waiting: list[tuple[Path, Any]] = []
        for path in paths:
            waiting.append((path, pool.submit(tried, path)))
            if len(waiting) > count:
                first, future = waiting.pop(0)
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()
