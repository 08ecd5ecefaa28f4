"""Neural style transfer in JAX: optimisation, sweeps and experiments on CPU, GPU and TPU."""

from jaxstyle import losses, solvers
from jaxstyle.backbones.perceptual import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import load, save
from jaxstyle.ops.resize import resize
from jaxstyle.pytrees import replace
from jaxstyle.references import References
from jaxstyle.transfer import presets as recipes
from jaxstyle.transfer.loop import Result, Snapshot, stylize, stylize_iter
from jaxstyle.transfer.recipe import Recipe, Stage, Start
from jaxstyle.weights.store import load_weights

__all__ = [
    "JaxstyleError", "Recipe", "References", "Result", "Snapshot", "Stage", "Start", "Weights", "load",
    "load_weights", "losses", "recipes", "replace", "resize", "save", "solvers", "stylize", "stylize_iter",
]
