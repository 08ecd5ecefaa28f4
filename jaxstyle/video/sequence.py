"""Frame after frame: who came before, where scenes are cut, what is done already."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxstyle.metrics.flicker import flicker
from jaxstyle.video.estimate import FlowOf, Flows
from jaxstyle.video.files.frames import Frame, ahead
from jaxstyle.video.flow import consistency
from jaxstyle.video.optimise import Earlier, to_float

Paint = Callable[[np.ndarray, Sequence[Earlier | None]], tuple[np.ndarray, dict[str, float]]]
"""Makes the result of a frame, uint8 `[H, W, 3]`, from its pixels and from earlier frames of its scene."""
BEHIND = 4
"""Results that wait for being written."""


@dataclass(frozen=True)
class Before:
    """What of earlier frames counts.

    Attributes:
      offsets: how many frames back `Paint` looks; cut: a scene begins below this share of consistency.
    """

    offsets: Sequence[int]
    cut: float


@dataclass(frozen=True)
class Painted:
    """A finished frame.

    Attributes:
      frame, image: the frame, and its result uint8 `[H, W, 3]`.
      consistent: share of it that is consistent with the frame before (1 for the first); cut: whether a scene
        begins here.
      flicker: see `metrics.flicker`, in comparison with the frame before; None at the start of a scene.
      facts: what the one who painted it says of it; fresh: it was not there already.
    """

    frame: Frame
    image: np.ndarray
    consistent: float
    cut: bool
    flicker: float | None
    facts: dict[str, float]
    fresh: bool


def with_flows(frames: Iterable[Frame], flow_of: FlowOf, offsets: Sequence[int]
               ) -> Iterator[tuple[Frame, dict[int, Flows]]]:
    """Each frame with the flows between it and those `offsets` frames back, as far as there are any."""
    before: deque[Frame] = deque(maxlen=max(offsets, default=1))
    for frame in frames:
        yield frame, {offset: flow_of(before[-offset], frame) for offset in offsets if offset <= len(before)}
        before.append(frame)


@jax.jit
def share_consistent(flows: tuple[Any, Any]) -> tuple[Any, Any]:
    """The weights c `[H, W]`, and their mean."""
    weights = consistency(*flows)
    return weights, weights.mean()


def walk(
    frames: Iterable[Frame], paint: Paint, flow_of: FlowOf, before: Before, *,
    measure: bool = False, done: Callable[[int], np.ndarray | None] = lambda index: None,
) -> Iterator[Painted]:
    """Paints frames in order; decoding and flow go on beside it.

    Args:
      measure: compute the flicker too; done: the result of the frame of this index, where there is one.
    """
    known: deque[tuple[Frame, np.ndarray]] = deque(maxlen=max(before.offsets, default=1))
    looks = sorted({*before.offsets, *((1,) if before.offsets or measure else ())})
    for index, (frame, flows) in enumerate(ahead(with_flows(frames, flow_of, looks))):
        share, value = 1.0, None
        if 1 in flows:
            weights, mean = share_consistent(flows[1])
            share = float(mean)
        if is_cut := share < before.cut:
            known.clear()
        image, facts = done(index), dict[str, float]()
        if fresh := image is None:
            earlier = [Earlier(known[-n][0].image, known[-n][1], *flows[n]) if n <= len(known) else None
                       for n in before.offsets]
            image, facts = paint(frame.image, earlier)
        if measure and known:
            value = float(flicker(to_float(known[-1][1]), to_float(image), flows[1][0], weights))
        known.append((frame, image))
        yield Painted(frame=frame, image=image, consistent=share, cut=is_cut, flicker=value, facts=facts,
                      fresh=fresh)


@contextmanager
def behind(consume: Callable[..., None]) -> Iterator[Callable[..., None]]:
    """The same function, run in order in a thread of its own; what it raises is raised by a later call or at
    the end of the block."""
    pending: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1) as pool:
        def submit(*arguments: Any) -> None:
            while len(pending) >= BEHIND or (pending and pending[0].done()):
                pending.popleft().result()
            pending.append(pool.submit(consume, *arguments))

        try:
            yield submit
        except BaseException:
            for future in pending:
                future.cancel()
            raise
        while pending:
            pending.popleft().result()
