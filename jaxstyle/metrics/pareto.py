"""The best compromises between two costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other beats in one cost without losing in the other, by first cost.

    Points that are not finite are never on the front; of equal points the first is.
    """
    order = sorted((i for i, point in enumerate(points) if np.isfinite(point).all()),
                   key=lambda i: (*points[i], i))
    front: list[int] = []
    for i in order:
        if not front or points[i][1] < points[front[-1]][1]:
            front.append(i)
    return front


def knee(points: Sequence[tuple[float, float]], front: Sequence[int]) -> int | None:
    """The point of the front farthest from the line between its ends, costs scaled to [0, 1].

    This is where giving up a little of one cost stops buying much of the other (Das 1999; Satopaa et al.
    2011). None for an empty front. Of points that are equally far, as two always are, the one that is worth
    more: whose costs (of at least 0) are the least shares of the largest of the front, together.
    """
    if not front:
        return None
    costs = np.array([points[i] for i in front], float)
    span = costs.max(0) - costs.min(0)
    scaled = (costs - costs.min(0)) / np.where(span > 0, span, 1)
    nearness = scaled.sum(1)
    farthest = np.flatnonzero(np.isclose(nearness, nearness.min(), atol=1e-9))
    shares = costs / np.where(costs.max(0) > 0, costs.max(0), 1)
    return front[int(min(farthest, key=lambda i: shares[i].sum()))]
