"""Minimisers behind one interface, and the guarded search they run in. No solver knows about images."""

from jaxstyle.solvers.armijo import ArmijoLbfgs
from jaxstyle.solvers.first_order import Adagrad, Adam, RMSprop, Sgd
from jaxstyle.solvers.iterate import (
    MAX_FAILURES,
    Iterate,
    Search,
    Solver,
    begin_search,
    evaluate,
    search_step,
)
from jaxstyle.solvers.lbfgs import Lbfgs, OptaxLbfgs
from jaxstyle.solvers.scipy_lbfgsb import ScipyLbfgsb

SOLVERS = (Lbfgs, OptaxLbfgs, ArmijoLbfgs, ScipyLbfgsb, Adam, Adagrad, RMSprop, Sgd)

__all__ = [
    "MAX_FAILURES", "SOLVERS", "Adagrad", "Adam", "ArmijoLbfgs", "Iterate", "Lbfgs", "OptaxLbfgs", "RMSprop",
    "ScipyLbfgsb", "Search", "Sgd", "Solver", "begin_search", "evaluate", "search_step",
]
