"""SciPy's L-BFGS-B, one iteration at a time.

SciPy offers the whole minimisation only; its routine underneath works by reverse communication: it is called
with a point, says whether it wants the function there or has finished an iteration, and keeps all it knows in
arrays that the caller holds. Those arrays are the state here, so a search can be saved, continued, compiled
and mapped like any other.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from jaxstyle.pytrees import pytree, static
from jaxstyle.solvers.iterate import Fun, Iterate, evaluate, is_finite, select

START, NEW_ITERATION, EVALUATE = 0, 1, 3  # values of SciPy's `task`
BOTH_BOUNDS = 2
DSAVE = 29


@pytree
class Workspace:
    """SciPy's arrays between two calls; doubles are kept as pairs of 32-bit words, so that they survive bit
    for bit where JAX runs in single precision.

    `x` and `reals` are doubles; `integers` holds, one after the other, SciPy's iwa, task, lsave, isave and
    ln_task.
    """

    x: Array
    reals: Array
    integers: Array


@pytree
class ScipyLbfgsb:
    """L-BFGS-B (Byrd, Lu, Nocedal & Zhu 1995; SciPy's routine) with every number of x between two bounds.

    The routine runs on the host in double precision; the objective stays on the device.

    Attributes:
      lower, upper: bounds; history: pairs remembered; max_linesearch: evaluations per line search.
      single: a step is one evaluation, as programs count that limit evaluations, instead of an iteration; the
        points of a line search are then points of the run.
    """

    lower: Any = 0.0
    upper: Any = 1.0
    history: int = static(default=10)
    max_linesearch: int = static(default=20)
    single: bool = static(default=False)

    @property
    def box(self) -> tuple[Any, Any]:
        """The bounds."""
        return self.lower, self.upper

    def init(self, iterate: Iterate, scale: Array) -> Workspace:
        """Empty workspace at the point, moved into the bounds."""
        flat, _ = ravel_pytree(iterate.x)
        inside = jnp.clip(flat, self.lower, self.upper)
        n, m = flat.size, self.history
        reals = 2 * m * n + 5 * n + 11 * m * m + 8 * m + DSAVE
        return Workspace(x=to_words(inside), reals=jnp.zeros(2 * reals, jnp.uint32),
                         integers=jnp.zeros(3 * n + 2 + 4 + 44 + 2, jnp.int32))

    def step(
        self, fun: Fun, iterate: Iterate, state: Workspace, scale: Array
    ) -> tuple[Iterate, Workspace]:
        """Evaluations until SciPy has finished an iteration, or one; once it has converged nothing moves."""
        flat, unravel = ravel_pytree(iterate.x)
        bounds = jnp.stack([jnp.asarray(bound, flat.dtype) for bound in (self.lower, self.upper)])
        result = (jax.ShapeDtypeStruct((), jnp.int32), as_shape(bits(flat)), jax.tree.map(as_shape, state))
        routine = partial(call_setulb, dtype=flat.dtype, history=self.history,
                          max_linesearch=self.max_linesearch)

        def call(at: Iterate, work: Workspace) -> tuple[Array, Array, Workspace]:
            grad, _ = ravel_pytree(at.grad)
            # A smaller objective makes SciPy's first step shorter, after steps that led to no finite value.
            told = bits(jnp.concatenate([bounds, scale * at.value[None], scale * grad]))
            task, x, work = jax.pure_callback(routine, result, told, work, vmap_method="sequential")
            return task, lax.bitcast_convert_type(x, flat.dtype), work

        def wants_evaluation(carry: tuple[Array, Array, Workspace, Iterate]) -> Array:
            task, _, _, at = carry
            return (task == EVALUATE) & is_finite((at.value, at.grad))

        def evaluate_and_call(carry: tuple[Array, Array, Workspace, Iterate]) -> Any:
            _, x, work, _ = carry
            at = evaluate(fun, unravel(x))
            return *call(at, work), at

        first = *call(iterate, state), iterate
        if self.single:
            # Asked for the first time it wants the point that is known; a finished iteration goes on at once.
            begins = state.integers[3 * flat.size] == START
            told = lax.cond(begins, lambda: call(iterate, first[2]), lambda: first[:3])
            task, x, work = lax.while_loop(lambda told: told[0] == NEW_ITERATION,
                                           lambda told: call(iterate, told[2]), told)
            return select(task == EVALUATE, evaluate(fun, unravel(x)), iterate), work
        task, _, work, at = lax.while_loop(wants_evaluation, evaluate_and_call, first)
        finished = (task == NEW_ITERATION) | ~is_finite((at.value, at.grad))
        return select(finished, at, iterate), work


def bits(x: Array) -> Array:
    """Numbers as 32-bit words, `[n]` or `[n, 2]` uint32, which callbacks pass on unchanged."""
    return lax.bitcast_convert_type(x, jnp.uint32)


def as_shape(x: Array) -> jax.ShapeDtypeStruct:
    """Shape and type of an array."""
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


def to_words(x: Array) -> Array:
    """Numbers as the 32-bit words of their double-precision form, `[n]` -> `[2 n]` uint32."""
    shape = jax.ShapeDtypeStruct((2 * x.size,), jnp.uint32)

    def widen(words: Any) -> np.ndarray:
        return np.array(words).view(x.dtype).ravel().astype(np.float64).view(np.uint32)

    wide: Array = jax.pure_callback(widen, shape, bits(x), vmap_method="sequential")
    return wide


def call_setulb(
    told: Any, work: Workspace, *, dtype: Any, history: int, max_linesearch: int
) -> tuple[np.ndarray, np.ndarray, Workspace]:
    """One call of SciPy's routine on copies of the arrays: what it asks for, its point, its workspace.

    Args:
      told: `bits` of lower bound, upper bound, value and gradient in one array of type `dtype`.
    """
    from scipy.optimize import _lbfgsb

    low, high, value, *_ = known = np.array(told).view(dtype).ravel().astype(np.float64)
    x = np.array(work.x).view(np.float64)
    reals = np.array(work.reals).view(np.float64)
    integers = np.array(work.integers)
    n = x.size
    iwa, task, lsave, isave, ln_task = np.split(integers, np.cumsum([3 * n, 2, 4, 44]))
    if task[0] in (START, NEW_ITERATION, EVALUATE):
        _lbfgsb.setulb(
            history, x, np.full(n, low), np.full(n, high), np.full(n, BOTH_BOUNDS, np.int32),
            np.array(value), known[3:].copy(), 0.0, 0.0, reals[:-DSAVE], iwa, task, lsave, isave,
            reals[-DSAVE:], max_linesearch, ln_task,
        )
    kept: Any = Workspace(x=x.view(np.uint32), reals=reals.view(np.uint32), integers=integers)  # type: ignore[arg-type]
    words = x.astype(dtype).view(np.uint32).reshape((n, -1) if dtype == np.float64 else (n,))
    return np.asarray(task[0], np.int32), words, kept
