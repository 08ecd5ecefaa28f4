"""Limited-memory BFGS with a line search: jaxopt's and optax's, behind one interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
from jax import Array

from jaxstyle.pytrees import pytree, static
from jaxstyle.solvers.first_order import scale_of_first_step
from jaxstyle.solvers.iterate import Fun, Iterate, evaluate

if TYPE_CHECKING:
    import jaxopt
    import optax


@pytree
class Lbfgs:
    """L-BFGS of jaxopt (Liu & Nocedal 1989; line searches of Nocedal & Wright 2006, chapter 3).

    Attributes:
      first_step: root mean square change of x that the first step tries.
      history: pairs remembered; linesearch: "backtracking" (from a full step; about 1.3 evaluations per
        step) or "zoom" (as good, but its program holds five copies of the objective instead of two).
      max_linesearch: evaluations that one line search may use.
    """

    first_step: Any = 0.01
    history: int = static(default=10)
    linesearch: str = static(default="backtracking")
    max_linesearch: int = static(default=15)

    def _solver(self, fun: Any) -> jaxopt.LBFGS:
        import jaxopt  # with all of SciPy it takes half a second

        return jaxopt.LBFGS(
            fun, value_and_grad=True, has_aux=True, tol=0.0, history_size=self.history,
            linesearch=self.linesearch, linesearch_init="max", maxls=self.max_linesearch,
        )

    def init(self, iterate: Iterate, scale: Array) -> Any:
        """Empty memory; the initial inverse Hessian is what makes the first step `first_step` long."""
        aux = (iterate.parts, iterate.memory)
        solver = self._solver(lambda x: ((iterate.value, aux), iterate.grad))
        state = solver.init_state(iterate.x)
        gamma = scale * scale_of_first_step(iterate.grad, self.first_step)
        return state._replace(gamma=gamma.astype(state.gamma.dtype), value=(), grad=(), aux=())

    def step(
        self, fun: Fun, iterate: Iterate, state: Any, scale: Array
    ) -> tuple[Iterate, Any]:
        """One quasi-Newton step with its line search."""
        aux = (iterate.parts, iterate.memory)
        state = state._replace(value=iterate.value, grad=iterate.grad, aux=aux)
        solver = self._solver(jax.value_and_grad(fun, has_aux=True))
        x, state = solver.update(iterate.x, state)
        parts, memory = state.aux
        after = Iterate(x=x, value=state.value, parts=parts, grad=state.grad, memory=memory)
        return after, state._replace(value=(), grad=(), aux=())


@pytree
class OptaxLbfgs:
    """L-BFGS of optax with its zoom line search (strong Wolfe).

    Its first step has length min(‖g‖, 1), so a restart after a failure is short by itself. optax does
    not carry the parts of the loss: each step ends with one evaluation more than its line search made.

    Attributes:
      history: pairs remembered; max_linesearch: evaluations that one line search may use.
    """

    history: int = static(default=10)
    max_linesearch: int = static(default=15)

    def _transformation(self) -> optax.GradientTransformationExtraArgs:
        import optax

        search = optax.scale_by_zoom_linesearch(
            max_linesearch_steps=self.max_linesearch, initial_guess_strategy="one"
        )
        return optax.lbfgs(memory_size=self.history, linesearch=search)

    def init(self, iterate: Iterate, scale: Array) -> Any:
        """Empty memory."""
        return self._transformation().init(iterate.x)

    def step(
        self, fun: Fun, iterate: Iterate, state: Any, scale: Array
    ) -> tuple[Iterate, Any]:
        """One quasi-Newton step with its line search."""
        from optax import apply_updates

        updates, state = self._transformation().update(
            iterate.grad, state, iterate.x, value=iterate.value, grad=iterate.grad,
            value_fn=lambda x: fun(x)[0],
        )
        return evaluate(fun, apply_updates(iterate.x, updates)), state
