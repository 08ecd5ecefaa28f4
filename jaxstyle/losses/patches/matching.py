"""Which patch of the styles belongs to each patch of the image: what is compared, and the search.

Li & Wand 2016 (CNNMRF, arXiv:1601.04589, equation 3); steered by semantic maps: Champandard 2016 (neural
doodle, arXiv:1603.01768). Matching is piecewise constant, so no gradient flows through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxstyle import ops
from jaxstyle.pytrees import pytree, static

MATCHINGS = ("paper", "relative", "neural-doodle")


@pytree
class Candidates:
    """One style at one layer, with its copies: where patches are looked for.

    Copies of different sizes are padded with zeros to the largest, so that one loop goes over all of them.

    Attributes:
      features: `[K, Hs, Ws, C]`, keys: `[K, Hs, Ws, D]` (see `matching_key`); the style itself comes first.
      shapes: height and width of each of the K copies.
    """

    features: Array
    keys: Array
    shapes: tuple[tuple[int, int], ...] = static()


class Matches(NamedTuple):
    """The best style patch of every patch of an image on its grid `[rows, columns]`.

    Attributes:
      style: number of the style.
      corner: first pixel of the patch in the style's flattened copies `[K · Hs · Ws]`.
      peaks: for each style the best cosine that each of its patches has with any patch of the image
        `[K, rows, columns]`; None if they were not asked for.
    """

    style: Array
    corner: Array
    peaks: tuple[Array, ...] | None


def unit(x: Array) -> Array:
    """Every vector along the last axis divided by its length; zero vectors stay zero."""
    length = jnp.sqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True))
    return x / jnp.maximum(length, jnp.sqrt(jnp.finfo(x.dtype).tiny))


def mean_energy(arrays: Sequence[Array]) -> Array:
    """Mean squared length of the vectors along the last axis, over all arrays; at least the least float."""
    total = sum((jnp.sum(jnp.square(x)) for x in arrays), start=jnp.zeros(()))
    count = sum(x.shape[0] * x.shape[1] for x in arrays)
    return jnp.maximum(total / count, jnp.finfo(arrays[0].dtype).tiny)


def with_complement(semantic: Array) -> Array:
    """m ‖ 1 − m, `[H, W, 2M]`: black says as much as white, and no two labels are parallel."""
    return jnp.concatenate([semantic, 1 - semantic], axis=-1)


def matching_key(features: Array, semantic: Array | None, gamma: Any, matching: str,
                 energies: tuple[Array, Array]) -> Array:
    """What is matched at each position: features `[h, w, C]` beside the map `[h, w, M]`, as `[h, w, C + M]`.

    "paper": x ‖ γ m, on raw magnitudes (Champandard 2016).
    "relative": x ‖ γ (m ‖ 1 − m), each divided by the root of its `energies` (mean squared lengths in the
    style), so that γ = 1 gives features and map equal shares in any network, and labels differ however dark
    they are (ours).
    "neural-doodle": both made unit vectors at every position, so that scores are mean cosines, the map's
    counting γ times (the program of the paper, where γ is its semantic weight).
    """
    if matching == "neural-doodle":
        parts = [unit(features)] if semantic is None else [unit(features), jnp.sqrt(gamma) * unit(semantic)]
        return jnp.concatenate(parts, axis=-1)
    if semantic is not None and matching == "relative":
        semantic = with_complement(semantic)
    scales = jnp.sqrt(jnp.stack(energies)) if matching == "relative" else jnp.ones(2, features.dtype)
    parts = [features / scales[0]] if semantic is None else [features / scales[0],
                                                             gamma * semantic / scales[1]]
    return jnp.concatenate(parts, axis=-1)


def padded_stack(arrays: Sequence[Array]) -> Array:
    """Arrays `[H, W, C]` of different sizes as one `[K, max H, max W, C]`, zeros outside."""
    height, width = (max(a.shape[axis] for a in arrays) for axis in (0, 1))
    return jnp.stack([jnp.pad(a, ((0, height - a.shape[0]), (0, width - a.shape[1]), (0, 0)))
                      for a in arrays])


def candidates(features: Sequence[Array], keys: Sequence[Array]) -> Candidates:
    """The copies of one style, features `[h, w, C]` and keys `[h, w, D]` of each."""
    return Candidates(features=padded_stack(features), keys=padded_stack(keys),
                      shapes=tuple((f.shape[0], f.shape[1]) for f in features))


class Search(NamedTuple):
    """How patches are looked for; all of it static.

    Attributes:
      size, stride: of patches in the image and in the styles; the last patch of each row and column is
        always among them.
      normalised: see `ops.reference.Grid`; peaks: whether `Matches.peaks` are wanted.
    """

    size: int = 3
    stride: int = 1
    normalised: str = "style"
    peaks: bool = False


def style_starts(shapes: Sequence[tuple[int, int]], search: Search) -> tuple[tuple[int, ...], ...]:
    """Rows and columns where a patch of any copy begins."""
    return tuple(tuple(sorted({start for shape in shapes
                               for start in ops.patch_starts(shape[axis], search.size, search.stride)}))
                 for axis in (0, 1))


def allowed(shapes: Sequence[tuple[int, int]], search: Search) -> np.ndarray | None:
    """Which of the `style_starts` begin a patch of each copy, `[K, rows, columns]`; None: all of them do."""
    rows, columns = style_starts(shapes, search)
    own = [[ops.patch_starts(side, search.size, search.stride) for side in shape] for shape in shapes]
    found = np.stack([np.isin(rows, mine[0])[:, None] & np.isin(columns, mine[1])[None] for mine in own])
    return None if found.all() else found


def match_patches(key: Array, styles: Sequence[Candidates], search: Search,
                  penalties: Sequence[Array] | None = None, regions: Sequence[Array] = ()) -> Matches:
    """For every patch of `key` `[h, w, D]` on its grid the best patch of any copy of any style.

    Copies are searched one after the other, so memory is that of one.

    Args:
      penalties: for each style what is subtracted from the scores of its patches, `[K, rows, columns]`.
      regions: a mask `[h, w]` for each style; a patch is sought in the style whose mask is greatest in its
        middle. None: in all styles.
    """
    starts = tuple(ops.patch_starts(side, search.size, search.stride) for side in key.shape[:2])
    found = [_match_style(key, style, search, starts, None if penalties is None else penalties[i])
             for i, style in enumerate(styles)]
    scores = jnp.stack([score for _, score, _ in found])
    if regions:
        rows, columns = (jnp.asarray(own) + search.size // 2 for own in starts)
        here = jnp.argmax(jnp.stack([mask[rows[:, None], columns[None]] for mask in regions]), axis=0)
        scores = jnp.where(here[None] == jnp.arange(len(styles))[:, None, None], scores, -jnp.inf)
    best = jnp.argmax(scores, axis=0).astype(jnp.int32)
    corner = jnp.take_along_axis(jnp.stack([at for at, _, _ in found]), best[None], axis=0)[0]
    peaks = tuple(peaks for _, _, peaks in found if peaks is not None)
    return Matches(best, corner, peaks if search.peaks else None)


def _match_style(key: Array, style: Candidates, search: Search, starts: tuple[tuple[int, ...], ...],
                 penalty: Array | None) -> tuple[Array, Array, Array | None]:
    """Corner, score and peaks within one style."""
    count, height, width, _ = style.keys.shape
    rows, columns = style_starts(style.shapes, search)
    grid = ops.Grid(search.size, starts[0], starts[1], rows, columns, normalised=search.normalised,
                    peaks=search.peaks)
    mask, offset = allowed(style.shapes, search), None
    if penalty is not None:
        offset = -penalty
    if mask is not None:
        offset = jnp.where(mask, 0.0 if offset is None else offset, -jnp.inf).astype(key.dtype)

    def one(number: Array | int) -> tuple[Array, Array, Array | None]:
        index, score, peaks = ops.best_patches(key, style.keys[number], grid,
                                               None if offset is None else offset[number])
        row, column = jnp.divmod(index, width - search.size + 1)
        return ((number * height + row) * width + column).astype(jnp.int32), score, peaks

    if count == 1:
        at, score, peaks = one(0)
        return at, score, None if peaks is None else peaks[None]

    def better(best: tuple[Array, Array], number: Array) -> tuple[tuple[Array, Array], Array | None]:
        at, score, peaks = one(number)
        wins = score > best[1]
        return (jnp.where(wins, at, best[0]), jnp.where(wins, score, best[1])), peaks

    shape = tuple(map(len, starts))
    nothing = (jnp.zeros(shape, jnp.int32), jnp.full(shape, -jnp.inf, key.dtype))
    (at, score), peaks = lax.scan(better, nothing, jnp.arange(count))
    return at, score, peaks
