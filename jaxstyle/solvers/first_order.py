"""Gradient methods from optax: Adam, Adagrad, RMSprop, SGD."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxstyle.pytrees import pytree, static
from jaxstyle.solvers.iterate import Box, Fun, Iterate, clipped, evaluate

if TYPE_CHECKING:
    import optax


def _init(solver: Any, iterate: Iterate, scale: Array) -> Any:
    return solver.transformation().init(iterate.x)


def _step(
    solver: Any, fun: Fun, iterate: Iterate, state: Any, scale: Array
) -> tuple[Iterate, Any]:
    updates, state = solver.transformation().update(iterate.grad, state, iterate.x)
    x = jax.tree.map(lambda a, b: a + (scale * b).astype(a.dtype), iterate.x, updates)
    x = clipped(x, solver.box)
    return evaluate(fun, x), state


@pytree
class Adam:
    """Adam (Kingma & Ba 2015). With x in [0, 1] a learning rate of 0.02 is usual for images."""

    learning_rate: Any = 0.02
    b1: Any = 0.9
    b2: Any = 0.999
    eps: Any = 1e-8
    box: Box = static(default=None)
    init, step = _init, _step

    def transformation(self) -> optax.GradientTransformation:
        """The optax rule."""
        import optax

        return optax.adam(self.learning_rate, self.b1, self.b2, self.eps)


@pytree
class Adagrad:
    """Adagrad (Duchi, Hazan & Singer 2011), its accumulator starting at 0."""

    learning_rate: Any = 0.1
    eps: Any = 1e-7
    box: Box = static(default=None)
    init, step = _init, _step

    def transformation(self) -> optax.GradientTransformation:
        """The optax rule."""
        import optax

        return optax.adagrad(self.learning_rate, initial_accumulator_value=0.0, eps=self.eps)


@pytree
class RMSprop:
    """RMSprop (Hinton 2012)."""

    learning_rate: Any = 0.01
    decay: Any = 0.9
    eps: Any = 1e-8
    box: Box = static(default=None)
    init, step = _init, _step

    def transformation(self) -> optax.GradientTransformation:
        """The optax rule."""
        import optax

        return optax.rmsprop(self.learning_rate, self.decay, self.eps)


@pytree
class Sgd:
    """Gradient descent with momentum. `first_step` sets the learning rate: the root mean square change
    of x in the first step (a fixed rate would depend on the scale of the loss)."""

    first_step: Any = 0.01
    momentum: Any = 0.9
    box: Box = static(default=None)

    def init(self, iterate: Iterate, scale: Array) -> Any:
        """Momentum of zero, and the learning rate for this first gradient."""
        from optax import trace

        rate = scale_of_first_step(iterate.grad, self.first_step)
        return rate, trace(self.momentum).init(iterate.x)

    def step(
        self, fun: Fun, iterate: Iterate, state: Any, scale: Array
    ) -> tuple[Iterate, Any]:
        """x − rate · momentum-averaged gradient."""
        from optax import trace

        rate, average = state
        updates, average = trace(self.momentum).update(iterate.grad, average)
        x = jax.tree.map(lambda a, b: a - (scale * rate * b).astype(a.dtype), iterate.x, updates)
        x = clipped(x, self.box)
        return evaluate(fun, x), (rate, average)


def scale_of_first_step(grad: Any, first_step: Any) -> Array:
    """Factor by which a step along the gradient changes x by `first_step` (root mean square)."""
    leaves = jax.tree.leaves(grad)
    squares = jnp.stack([jnp.vdot(leaf, leaf) for leaf in leaves]).sum()
    count = sum(leaf.size for leaf in leaves)
    scale: Array = first_step * jnp.sqrt(count / jnp.maximum(squares, jnp.finfo(squares.dtype).tiny))
    return scale
