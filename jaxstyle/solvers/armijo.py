"""L-BFGS that evaluates once per step: made for many searches in lock step."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from jaxstyle.pytrees import pytree, static
from jaxstyle.solvers.first_order import scale_of_first_step
from jaxstyle.solvers.iterate import Box, Fun, Iterate, clipped, evaluate, select

LEAST_COSINE = 1e-8


@pytree
class Memory:
    """Ring of the last pairs, as rows: `steps` and `changes` `[history, n]`, `rho` `[history]` = 1/(yᵀs).

    `count` pairs were stored so far; `gamma` scales the identity; `length` is the next trial's length.
    """

    steps: Array
    changes: Array
    rho: Array
    gamma: Array
    length: Array
    count: Array


@pytree
class ArmijoLbfgs:
    """L-BFGS with a sufficient-decrease test instead of a line search: one evaluation per step.

    A trial that fails the test (Nocedal & Wright 2006, equation 3.6a) leaves the point where it is and
    halves the length of the next trial. Under `vmap` a library's line search makes every lane wait for
    the longest; here all lanes evaluate once per step. A pair is stored only if its curvature is
    positive, which a Wolfe search would guarantee.

    With a box, steps are projected: numbers at a bound that the gradient holds there rest (Bertsekas 1982,
    "Projected Newton methods"), the others move by the direction of theirs alone and are clipped. So what is
    measured is always within the bounds.

    Attributes:
      first_step: root mean square change of x that the first step tries.
      decrease: the constant c₁ of the test; history: pairs remembered.
      box: bounds of every number of x, or None.
    """

    first_step: Any = 0.01
    decrease: Any = 1e-4
    history: int = static(default=10)
    box: Box = static(default=None)

    def init(self, iterate: Iterate, scale: Array) -> Memory:
        """Empty memory."""
        flat, _ = ravel_pytree(iterate.x)
        empty = jnp.zeros((self.history, flat.size), flat.dtype)
        gamma = scale * scale_of_first_step(iterate.grad, self.first_step)
        return Memory(steps=empty, changes=empty, rho=jnp.zeros(self.history, flat.dtype),
                      gamma=gamma.astype(flat.dtype), length=jnp.ones((), flat.dtype),
                      count=jnp.zeros((), jnp.int32))

    def step(
        self, fun: Fun, iterate: Iterate, state: Memory, scale: Array
    ) -> tuple[Iterate, Memory]:
        """One trial; the point moves only if the value decreases enough."""
        x, unravel = ravel_pytree(iterate.x)
        grad, _ = ravel_pytree(iterate.grad)
        free = movable(x, grad, self.box)
        change = -state.length * free * inverse_hessian_product(state, free * grad)
        reached = clipped(x + change, self.box)
        if self.box is not None:
            change = reached - x
        trial = evaluate(fun, unravel(reached))
        good = trial.value <= iterate.value + self.decrease * jnp.vdot(grad, change)
        # A non-finite trial is passed on as it is, for the guard to see and to count.
        moved = good | ~jnp.isfinite(trial.value)
        after = select(moved, trial, iterate)
        remembered = remember(state, change, free * (ravel_pytree(trial.grad)[0] - grad), good)
        length = jnp.where(good, 1.0, state.length / 2).astype(x.dtype)
        return after, Memory(steps=remembered.steps, changes=remembered.changes, rho=remembered.rho,
                             gamma=remembered.gamma, length=length, count=remembered.count)


def movable(x: Array, grad: Array, box: Box) -> Array:
    """1 where a number may move against its gradient, 0 where a bound of the box holds it."""
    if box is None:
        return jnp.ones((), x.dtype)
    return jnp.where(((x <= box[0]) & (grad > 0)) | ((x >= box[1]) & (grad < 0)), 0, 1).astype(x.dtype)


def inverse_hessian_product(memory: Memory, grad: Array) -> Array:
    """Two-loop recursion (Nocedal & Wright 2006, algorithm 7.4); unused rows have rho = 0 and drop out."""
    size = memory.rho.shape[0]
    newest = memory.count - 1

    def backward(i: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        q, alphas = carry
        row = (newest - i) % size
        alpha = memory.rho[row] * jnp.vdot(memory.steps[row], q)
        return q - alpha * memory.changes[row], alphas.at[row].set(alpha)

    def forward(i: Array, r: Array) -> Array:
        row = (memory.count + i) % size
        beta = memory.rho[row] * jnp.vdot(memory.changes[row], r)
        after: Array = r + (alphas[row] - beta) * memory.steps[row]
        return after

    q, alphas = lax.fori_loop(0, size, backward, (grad, jnp.zeros_like(memory.rho)))
    direction: Array = lax.fori_loop(0, size, forward, memory.gamma * q)
    return direction


def remember(memory: Memory, step: Array, change: Array, good: Array) -> Memory:
    """Memory with one more pair, the oldest dropped, if the step was good and its curvature is positive.

    Positive is meant as an angle, yᵀs > `LEAST_COSINE` |s| |y|, so that it does not matter by what the loss
    is multiplied.
    """
    curvature, square = jnp.vdot(step, change), jnp.vdot(change, change)
    keep = good & (curvature > LEAST_COSINE * jnp.linalg.norm(step) * jnp.sqrt(square))
    row = memory.count % memory.rho.shape[0]
    put = jax.tree.map(
        lambda ring, new: ring.at[row].set(jnp.where(keep, new, ring[row])),
        (memory.steps, memory.changes, memory.rho),
        (step, change, 1 / jnp.where(keep, curvature, 1)),
    )
    gamma = jnp.where(keep, curvature / jnp.where(keep, square, 1), memory.gamma)
    return Memory(steps=put[0], changes=put[1], rho=put[2], gamma=gamma, length=memory.length,
                  count=memory.count + keep.astype(jnp.int32))
