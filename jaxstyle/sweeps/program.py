"""Many recipes in one compiled program: one lane each, spread over all local devices.

A *lane* is a recipe with its references. Lanes of equal structure are stacked; a batch runs the single run's
own `Program`, mapped over the lanes of each device. Nothing is exchanged between lanes or devices, so each
lane is the run that it would be alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.pytrees import pytree, stack, static, structure
from jaxstyle.references import References
from jaxstyle.solvers import MAX_FAILURES, Search
from jaxstyle.transfer.inputs import sized
from jaxstyle.transfer.layout import Layout
from jaxstyle.transfer.loop import Reached, run_stage
from jaxstyle.transfer.program import Program, memory_needed, network_for
from jaxstyle.transfer.recipe import Recipe


@pytree
class Lanes:
    """A batch at some step: a `Snapshot` whose arrays have a leading axis over lanes.

    Attributes:
      images: the best so far `[n, H, W, 3]`, clipped to [0, 1].
      search, first: all that is needed to go on; see `Snapshot`.
      losses: total and parts of the steps since the last snapshot, name -> `[n, steps]`.
      alive: `[n]`, false for a lane whose loss was not finite at its first image or for ten steps in a row.
      stage, step, steps: as in `Snapshot`; memory: bytes per device; compile_seconds: of the stage so far.
    """

    images: Array
    search: Search
    first: Array
    losses: dict[str, np.ndarray]
    alive: np.ndarray
    stage: int = static()
    step: int = static()
    steps: int = static()
    memory: int = static(default=0)
    compile_seconds: float = static(default=0.0)


def group_key(recipe: Recipe, references: References) -> Any:
    """Hashable: lanes with equal keys can be stacked and share one program in every stage."""
    shapes = (jax.eval_shape(partial(sized, stage=stage, style_scale=recipe.style_scale), references)
              for stage in recipe.stages)
    return structure(recipe), tuple(map(structure, shapes))


@dataclass(frozen=True)
class Batch:
    """The inputs of a batch: its recipes stacked, and padded to the width of the program.

    `references` are those of each lane, at the files' own sizes; `width` counts lanes over all devices.
    """

    weights: Weights
    recipes: Recipe
    references: tuple[References, ...]
    width: int
    mesh: Mesh

    @property
    def count(self) -> int:
        """Lanes that are not padding."""
        return len(self.references)

    @property
    def layout(self) -> Layout:
        """One lane after the other over the devices."""
        shared = all(other is self.references[0] for other in self.references)
        return Layout(lanes=self.mesh, shared=shared)

    def program(self, stage: int, shapes: bool = False) -> Program:
        """The program of a stage; from `shapes` alone if nothing is to be computed."""
        layout = self.layout
        resize = partial(sized, stage=self.recipes.stages[stage], style_scale=self.recipes.style_scale)
        of = partial(jax.eval_shape, resize) if shapes else resize
        fitted = {key: of(lane) for key, lane in {id(lane): lane for lane in self.references}.items()}
        lanes = [fitted[id(lane)] for lane in self.references]
        if layout.shared:
            given = lanes[0]
        elif shapes:
            given = jax.tree.map(lambda x: jax.ShapeDtypeStruct((self.width, *x.shape), x.dtype), lanes[0])
        else:
            given = padded(stack(lanes), self.width)
        placed = given if shapes else layout.put(given, common=layout.shared)
        return Program(self.weights, placed, self.recipes, stage, layout)


def place(weights: Weights, references: Sequence[References], recipes: Sequence[Recipe], width: int,
          mesh: Mesh) -> Batch:
    """Stack lanes of one group, at most `width` (a multiple of the devices), and put them in place."""
    if not 0 < len(recipes) <= width or width % mesh.devices.size:
        raise ValueError(f"{len(recipes)} lanes in a batch of {width} on {mesh.devices.size} devices")
    layout = Layout(lanes=mesh)
    network = layout.put(network_for(weights, recipes[0]), common=True)
    return Batch(weights=network, recipes=layout.put(padded(stack(recipes), width)),
                 references=tuple(references), width=width, mesh=mesh)


def padded(tree: Any, width: int) -> Any:
    """The lanes of `tree`, the last one repeated up to `width`."""
    def pad(leaf: Any) -> Array:
        missing = width - leaf.shape[0]
        return jnp.concatenate([leaf, jnp.repeat(leaf[-1:], missing, axis=0)]) if missing else leaf

    return jax.tree.map(pad, tree)


def run_lanes(batch: Batch, *, stops: Sequence[int] = (), resume: Lanes | None = None) -> Iterator[Lanes]:
    """Runs a batch step by step, as `stylize_iter` runs one recipe.

    Yields before the first step of each stage, about twice a second, at the steps `stops` (counted over all
    stages) and at the end of each stage. A lane that fails stays in its place and disturbs no other; the
    batch ends early only if all fail.

    Args:
      resume: lanes of an earlier run to go on from, `search` and `first` without the padding.
    """
    previous: Any = None
    for index, stage in enumerate(batch.recipes.stages):
        if resume and index < resume.stage:
            continue
        started = time.perf_counter()
        before = sum(each.steps for each in batch.recipes.stages[:index])
        program = batch.program(index)
        start = None
        if resume and resume.stage == index:
            first, search = program.layout.put(padded((resume.first, resume.search), batch.width))
            start = Reached(first, search, {}, resume.step)
        about: dict[str, Any] = {}
        for at in run_stage(program, previous, start, [stop - before for stop in stops]):
            if not at.losses:  # the stage begins
                needed = memory_needed(next(program.compiled()))
                about = {"memory": needed, "compile_seconds": time.perf_counter() - started}
            yield (lanes := snapshot(batch, at, index, stage.steps, **about))
            about = {}
            if not lanes.alive.any():
                return
            previous = at.search.best.x


def snapshot(batch: Batch, at: Reached, stage: int, steps: int, **about: Any) -> Lanes:
    """The lanes of a batch, without the padding."""
    search, first = jax.tree.map(lambda leaf: leaf[: batch.count], (at.search, at.first))
    canvases = jax.tree.map(lambda leaf: leaf[: batch.count], batch.recipes.canvas)
    shown = {name: values[: batch.count] for name, values in at.losses.items()}
    return Lanes(images=pictures(canvases, search.best.x), search=search, first=first, losses=shown,
                 alive=living(search), stage=stage, step=at.step, steps=steps, **about)


@jax.jit
def pictures(canvases: Any, x: Any) -> Array:
    """The pictures `[n, H, W, 3]` that coefficients of lanes stand for, in [0, 1]."""
    return jax.vmap(lambda canvas, x: jnp.clip(canvas.decode(x), 0, 1))(canvases, x)


def living(search: Search) -> np.ndarray:
    """Which lanes `[n]` have not failed: see `Lanes.alive`."""
    failures, best = np.asarray(search.failures_in_a_row), np.asarray(search.best.value)
    good: np.ndarray = np.isfinite(best) & (failures < MAX_FAILURES)
    return good
