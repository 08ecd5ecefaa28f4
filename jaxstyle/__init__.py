"""Neural style transfer in JAX: optimisation, sweeps and experiments on CPU, GPU and TPU."""

from jaxstyle import losses, recipes, solvers
from jaxstyle.errors import JaxstyleError
from jaxstyle.images import load, resize, save
from jaxstyle.pytrees import replace
from jaxstyle.recipe import Recipe, Stage, Start
from jaxstyle.references import References
from jaxstyle.stylize import Result, Snapshot, stylize, stylize_iter
from jaxstyle.weights import Weights, load_weights

__all__ = [
    "JaxstyleError", "Recipe", "References", "Result", "Snapshot", "Stage", "Start", "Weights", "load",
    "load_weights", "losses", "recipes", "replace", "resize", "save", "solvers", "stylize", "stylize_iter",
]
