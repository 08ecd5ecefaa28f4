"""The one loop that runs recipes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.ops.sharding import replicate
from jaxstyle.pytrees import pytree, static
from jaxstyle.references import References
from jaxstyle.solvers import MAX_FAILURES, Search
from jaxstyle.transfer.controls import finished
from jaxstyle.transfer.inputs import check_split, sized
from jaxstyle.transfer.layout import Layout
from jaxstyle.transfer.program import CHUNK_STEPS, Program, advance, minimised, network_for
from jaxstyle.transfer.recipe import Recipe

CHUNK_SECONDS = 0.5


@pytree
class Result:
    """A finished image `[H, W, 3]` in [0, 1], its loss and parts, and the losses of every step by stage."""

    image: Array
    value: Array
    parts: dict[str, Array]
    history: tuple[dict[str, Array], ...]
    failures: Array


@pytree
class Snapshot:
    """A run at some step.

    Attributes:
      picture: the best so far `[H, W, 3]` as the solver found it, clipped to [0, 1]; finish: what makes
        `image` of it.
      search, first: all that is needed to go on (see `stylize_iter`): the search, whose memory is reused as
        soon as the next snapshot is asked for, so save or copy it before; and the image that the stage began
        with.
      losses: total and parts of the steps since the last snapshot, name -> `[n]`.
      stage, step: where the run is: `step` steps of stage `stage` are done; steps: of that stage in all.
    """

    picture: Array
    search: Search
    first: Array
    losses: dict[str, np.ndarray]
    stage: int = static()
    step: int = static()
    steps: int = static()
    finish: Callable[[Array], Array] | None = static(default=None)

    @cached_property
    def image(self) -> Array:
        """The best image so far `[H, W, 3]` in [0, 1], with the recipe's controls; made when asked for."""
        return self.picture if self.finish is None else self.finish(self.picture)

    @property
    def loss(self) -> dict[str, float]:
        """Total and parts of the loss at the last step made, as plain numbers."""
        iterate = self.search.iterate
        return {name: float(value) for name, value in {"total": iterate.value, **iterate.parts}.items()}


class Reached(NamedTuple):
    """Where a stage is: its first image, the search, losses `[…, n]` since the last one, and steps done."""

    first: Array
    search: Search
    losses: dict[str, np.ndarray]
    step: int


@jax.jit
def picture(canvas: Any, x: Any) -> Array:
    """The picture `[H, W, 3]` that coefficients stand for, in [0, 1]."""
    return jnp.clip(canvas.decode(x), 0, 1)


def stylize(weights: Weights, references: References, recipe: Recipe) -> Result:
    """Runs a recipe as one pure function: `jit` and `vmap` it over recipes, references or both.

    Non-finite steps are undone (see `search_step`) and counted in `Result.failures`.
    """
    network = network_for(weights, recipe)
    previous: Any = None
    history, failures = [], jnp.zeros((), jnp.int32)
    for index, stage in enumerate(recipe.stages):
        program = Program(network, sized(references, stage, recipe.style_scale), recipe, index)
        first = program.first(previous)
        targets = program.targets(first)
        search = program.begin(targets, first)
        search, losses = advance(minimised(program.ready(), recipe, targets), recipe, search, stage.steps,
                                 stage.steps)
        previous = search.best.x
        history.append(losses)
        failures = failures + search.failures
    image = finished(picture(recipe.canvas, previous), references, recipe)
    return Result(image=image, value=search.best.value, parts=search.best.parts,
                  history=tuple(history), failures=failures)


def stylize_iter(
    weights: Weights,
    references: References,
    recipe: Recipe,
    *,
    every: int | None = None,
    resume: Snapshot | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Iterator[Snapshot]:
    """Runs a recipe step by step: the one loop that everything else consumes.

    Yields a snapshot before the first step of each stage, then about twice a second, and without fail at
    every multiple of `every` steps and at the end of each stage. How often a snapshot is taken changes
    nothing in the result.

    Args:
      resume: a snapshot of an earlier run of the same recipe, to go on from, bit for bit.
      devices: over which the rows of the image, and all that has its shape, are split; None: one device.

    Raises:
      JaxstyleError: the loss is not finite at the start, or ten steps in a row fail; or the image cannot be
        split over the devices.
    """
    network, layout = network_for(weights, recipe), Layout(rows=tuple(devices or ()))
    if layout.rows:
        check_split(references, recipe, len(layout.rows))
        network, references = replicate((network, references), layout.rows)
    previous: Any = None
    for index in range(resume.stage if resume else 0, len(recipe.stages)):
        stage = recipe.stages[index]
        program = Program(network, sized(references, stage, recipe.style_scale), recipe, index, layout)
        start = None
        if resume and resume.stage == index:
            copies = jax.tree.map(jnp.copy, (resume.first, resume.search))
            first, search = layout.put(copies, program.shape)
            start = Reached(first, search, {}, resume.step)
        stops = range(every, stage.steps, every) if every else ()
        for at in run_stage(program, previous, start, stops):
            check(at, index)
            previous = at.search.best.x
            yield Snapshot(picture=picture(recipe.canvas, previous), search=at.search, first=at.first,
                           losses=at.losses, stage=index, step=at.step, steps=stage.steps,
                           finish=partial(finished, references=references, recipe=recipe, stage=index))


def check(at: Reached, stage: int) -> None:
    """Raises:
      JaxstyleError: the search of a single run has failed.
    """
    if not np.isfinite(at.search.best.value):
        raise JaxstyleError("the loss is not a finite number at the first image; use smaller weights")
    if (failed := int(at.search.failures_in_a_row)) >= MAX_FAILURES:
        raise JaxstyleError(
            f"{failed} steps in a row gave no finite loss (stage {stage + 1}, step {at.step}); "
            "use smaller weights, a smaller learning rate, or precision float32"
        )


def run_stage(program: Program, previous: Any, start: Reached | None, stops: Iterable[int]
              ) -> Iterator[Reached]:
    """Runs a stage of one image or of many lanes; yields first where it begins, then after every chunk.

    Args:
      previous: coefficients that the stage before ended with; start: where to go on instead of at the first
        image (its search is used up); stops: steps at which a chunk has to end.
    """
    first = program.first(previous) if start is None else start.first
    targets = program.targets(first)
    search, step = (program.begin(targets, first), 0) if start is None else (start.search, start.step)
    go = partial(program.advance, program.ready(), targets)
    yield Reached(first, search, {}, step)
    steps = program.recipe.stages[program.stage].steps
    for after, losses, done in in_chunks(go, search, step, steps, stops):
        yield Reached(first, after, losses, done)


def in_chunks(
    go: Callable[[Search, int], tuple[Search, dict[str, Array]]], search: Search, step: int, total: int,
    stops: Iterable[int],
) -> Iterator[tuple[Search, dict[str, np.ndarray], int]]:
    """The rest of a stage in chunks of about `CHUNK_SECONDS` that end at every step of `stops`.

    `go(search, n)` makes n steps; yields the search, the losses `[..., n]` of the chunk and the steps done.
    """
    pace = 0.0
    while step < total:
        ahead = min([total - step, CHUNK_STEPS, *(stop - step for stop in stops if stop > step)])
        steps = max(1, min(ahead, int(CHUNK_SECONDS / pace) if pace else 1))
        started = time.perf_counter()
        search, losses = jax.block_until_ready(go(search, steps))
        pace, step = (time.perf_counter() - started) / steps, step + steps
        yield search, {name: np.asarray(values)[..., :steps] for name, values in losses.items()}, step
