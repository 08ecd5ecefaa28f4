"""Neural style transfer in JAX: optimisation, sweeps and experiments on CPU, GPU and TPU."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_MODULES = {
    "backbones.perceptual": ("Weights",), "errors": ("JaxstyleError",), "images.files": ("load", "save"),
    "ops.resize": ("resize",), "pytrees": ("replace",), "references": ("References",),
    "transfer.loop": ("Result", "Snapshot", "stylize", "stylize_iter"),
    "transfer.recipe": ("Recipe", "Stage", "Start"), "weights.store": ("load_weights",),
}  # fmt: skip
_PACKAGES = {"losses": "losses", "solvers": "solvers", "recipes": "transfer.presets"}


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first asked for: help on the command line needs none (PEP 562)."""
    if name in _PACKAGES:
        found: Any = import_module(f"jaxstyle.{_PACKAGES[name]}")
    else:
        homes = [module for module, names in _MODULES.items() if name in names]
        if not homes:
            raise AttributeError(f"module 'jaxstyle' has no attribute '{name}'")
        found = getattr(import_module(f"jaxstyle.{homes[0]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
