"""A point with everything known about it, and the guarded search that every solver runs in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxstyle.pytrees import pytree

Fun = Callable[[Any], tuple[Array, tuple[Any, Any]]]
"""A function to minimise: x -> (value, (parts, memory))."""
Remembering = Callable[[Any, Any], tuple[Array, tuple[Any, Any]]]
"""The same where an evaluation depends on what one before it left:
(x, memory) -> (value, (parts, memory))."""

Box = tuple[Any, Any] | None
"""Bounds of every number of x, or None."""

SHRINK, RECOVER = 0.25, 1.1
MAX_FAILURES = 10


@pytree
class Iterate:
    """A point `x` (any pytree of arrays) with its value, the parts of the value, and its gradient.

    `memory` is what the evaluation here leaves to the next one; most functions leave nothing.
    """

    x: Any
    value: Array
    parts: Any
    grad: Any
    memory: Any = ()


class Solver(Protocol):
    """What minimises: a pytree of settings with two pure functions."""

    def init(self, iterate: Iterate, scale: Array) -> Any:
        """State at a point whose value and gradient are known; evaluates nothing."""

    def step(self, fun: Fun, iterate: Iterate, state: Any, scale: Array) -> tuple[Iterate, Any]:
        """The next point, fully evaluated. `scale` in (0, 1] shrinks steps after failures."""


@pytree
class Search:
    """A run of a solver: where it is, the best point so far, and how often it had to step back.

    Attributes:
      failures: steps that produced a non-finite value, gradient or point, in all.
      failures_in_a_row: the same, since the last good step.
    """

    iterate: Iterate
    best: Iterate
    state: Any
    scale: Array
    failures: Array
    failures_in_a_row: Array


def evaluate(fun: Fun, x: Any) -> Iterate:
    """Value, parts and gradient of `fun` at `x`."""
    (value, (parts, memory)), grad = jax.value_and_grad(fun, has_aux=True)(x)
    return Iterate(x=x, value=value, parts=parts, grad=grad, memory=memory)


def is_finite(tree: Any) -> Array:
    """Whether every number of a pytree is finite."""
    return jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]))


def select(condition: Array, yes: Any, no: Any) -> Any:
    """Leaf by leaf `yes` or `no`, in the types of `yes`."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b).astype(jnp.asarray(a).dtype), yes, no)


def clipped(x: Any, box: Box) -> Any:
    """Every number of x within the box."""
    return x if box is None else jax.tree.map(lambda a: jnp.clip(a, box[0], box[1]).astype(a.dtype), x)


def begin_search(solver: Solver, fun: Remembering, x: Any, memory: Any = ()) -> Search:
    """A search at its first point, moved into the solver's box and evaluated once with the first `memory`."""
    x = clipped(x, getattr(solver, "box", None))
    iterate = evaluate(partial(_with_memory, fun, memory), x)
    scale = jnp.ones((), iterate.value.dtype)
    zero = jnp.zeros((), jnp.int32)
    # Libraries begin with weakly typed scalars, which would compile every program twice.
    state = jax.tree.map(lambda leaf: lax.convert_element_type(leaf, leaf.dtype),
                         solver.init(iterate, scale))
    return Search(iterate=iterate, best=iterate, state=state, scale=scale, failures=zero,
                  failures_in_a_row=zero)


def _with_memory(fun: Remembering, memory: Any, x: Any) -> tuple[Array, tuple[Any, Any]]:
    return fun(x, memory)


def search_step(solver: Solver, fun: Remembering, search: Search) -> Search:
    """One step of the solver, guarded.

    A step to a non-finite value, gradient or point is undone: the search returns to the best point
    so far, forgets the solver's memory, and takes smaller steps for a while. After `MAX_FAILURES` such steps
    in a row it has given up, and stays there.
    """
    here = search.iterate
    after, state = solver.step(partial(_with_memory, fun, here.memory), here, search.state, search.scale)
    good = is_finite(after) & (search.failures_in_a_row < MAX_FAILURES)
    smaller = search.scale * SHRINK
    return Search(
        iterate=select(good, after, search.best),
        best=select(good & (after.value < search.best.value), after, search.best),
        state=select(good, state, solver.init(search.best, smaller)),
        scale=jnp.where(good, jnp.minimum(search.scale * RECOVER, 1), smaller),
        failures=search.failures + jnp.where(good, 0, 1).astype(jnp.int32),
        failures_in_a_row=jnp.where(good, 0, search.failures_in_a_row + 1).astype(jnp.int32),
    )
