"""Choosing the weight of the style for the user: one strength from 0 to 1, whatever image, size and network.

The idea: minimise the style terms alone, starting from the photo. Along this *path* the content terms rise
from 0 to some end value. Strength t means the point of the path where they have risen to the share t of it,
and the weights that belong to t make the gradients of content and style equally long there: a minimum of
their sum is where they cancel. (Balancing by gradient norm: Chen et al., GradNorm, 2018; the path is ours.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxstyle.errors import JaxstyleError
from jaxstyle.images import resize_to
from jaxstyle.losses import Content, Pixel
from jaxstyle.objective import Terms, objective, targets
from jaxstyle.pytrees import replace
from jaxstyle.references import References
from jaxstyle.solvers import ArmijoLbfgs, begin_search, search_step
from jaxstyle.stylize import Recipe, Stage, fit, network_for
from jaxstyle.weights import Weights

PATH_STEPS, PATH_SIZE = 60, 128
LEAST, MOST = 0.02, 0.98


@dataclass(frozen=True)
class Path:
    """The way from the photo to the style alone.

    Attributes:
      shares: content terms as a share of their end value, rising, each in (0, 1].
      ratios: gradient norm of the content terms divided by that of the style terms, at each.
    """

    shares: np.ndarray
    ratios: np.ndarray

    def factor(self, strength: float) -> float:
        """What to multiply the style's weights with for a strength in 0..1.

        Raises:
          JaxstyleError: a strength outside.
        """
        if not 0 <= strength <= 1:
            raise JaxstyleError(f"strength is a number from 0 (photo) to 1 (style), not {strength}")
        share = min(max(strength, LEAST), MOST)
        first = self.shares[0]
        if share < first:  # near the photo content terms are quadratic, and their gradient goes with the root
            return float(self.ratios[0] * np.sqrt(share / first))
        return float(np.exp(np.interp(share, self.shares, np.log(self.ratios))))


def roles(terms: Terms) -> tuple[dict[str, Any], dict[str, Any]]:
    """Terms that keep the photo, and terms that bring the style; those of the image alone are neither.

    Raises:
      JaxstyleError: one kind is missing, so there is nothing to balance.
    """
    content = {name: term for name, term in terms.items() if isinstance(term, Content | Pixel)}
    style = {name: term for name, term in terms.items() if term.layers and name not in content}
    if not content or not style:
        raise JaxstyleError("a strength balances content against style terms; this recipe has not both")
    return content, style


def style_path(weights: Weights, references: References, recipe: Recipe, steps: int = PATH_STEPS,
               size: int = PATH_SIZE) -> Path:
    """Measures the path of a recipe, at most `size` pixels large, corrected for the recipe's own size.

    Raises:
      JaxstyleError: no content image, terms that cannot be balanced, or a path that leads nowhere.
    """
    if references.content is None:
        raise JaxstyleError("a strength needs a photo; without one the style is all there is")
    content, style = roles(recipe.terms)
    last = recipe.stages[-1]
    small = last if last.size is not None and last.size <= size else Stage(size=size, by=last.by)
    network = network_for(weights, recipe)
    scale = recipe.style_scale
    given = fit(references, small, scale)
    images, values, norms = jax.device_get(walk(network, given, content, style, steps))
    if last is not small:
        full = fit(references, last, scale)
        growth = growth_with_size(network, given, full, content, style, images[-1])
        norms = norms * growth
    shares = np.maximum.accumulate(values[:, 0]) / np.max(values[:, 0], initial=1e-30)
    good = np.isfinite(norms).all(1) & (norms > 0).all(1) & (np.diff(shares, prepend=0) > 0)
    if not good.any():
        raise JaxstyleError("the style terms do not move the photo: no strength can be measured")
    return Path(shares[good], norms[good, 0] / norms[good, 1])


@partial(jax.jit, static_argnames="steps")
def walk(weights: Weights, references: References, content: Terms, style: Terms, steps: int
         ) -> tuple[Array, Array, Array]:
    """Minimises the style terms from the (fitted) photo.

    Returns:
      Images `[steps, H, W, 3]`; content and style terms `[steps, 2]`; norms of their gradients `[steps, 2]`.
    """
    both = targets(weights, references, {**content, **style})

    def of(terms: Terms, x: Array) -> tuple[Array, Any]:
        return objective(weights, terms, {name: both[name] for name in terms}, x)

    solver = ArmijoLbfgs()
    photo = jnp.asarray(references.content)
    search = begin_search(solver, partial(of, style), photo)

    def step(search: Any, _: None) -> tuple[Any, Array]:
        search = search_step(solver, partial(of, style), search)
        return search, search.iterate.x

    _, images = lax.scan(step, search, None, length=steps)

    def look(x: Array) -> tuple[Array, Array]:
        value, back, _ = jax.vjp(lambda x: split(of({**content, **style}, x)[1], content), x, has_aux=True)
        grads = [back(jnp.eye(2, dtype=value.dtype)[i])[0] for i in range(2)]
        return value, jnp.stack([jnp.linalg.norm(grad.ravel()) for grad in grads])

    values, norms = lax.map(look, images)
    return images, values, norms


def split(parts: dict[str, Array], content: Terms) -> tuple[Array, tuple[()]]:
    """Sums of the content and of the style terms, `[2]`."""
    kept = sum((part for name, part in parts.items() if name in content), start=jnp.zeros(()))
    style = sum((part for name, part in parts.items() if name not in content), start=jnp.zeros(()))
    return jnp.stack([kept, style]), ()


def growth_with_size(weights: Weights, small: References, full: References, content: Terms, style: Terms,
                     image: np.ndarray) -> np.ndarray:
    """How much larger content and style terms are at full size, `[2]`, for the same picture.

    Content is looked at where the path ends, style where it begins: there they are far from zero.
    """
    found = []
    for references in (small, full):
        height, width, _ = references.content.shape
        ends = (resize_to(image, height, width), jnp.asarray(references.content))
        values = [both_terms(weights, references, content, style, end) for end in ends]
        found.append([float(values[0][0]), float(values[1][1])])
    return np.array(found[1]) / np.maximum(found[0], 1e-30)


@jax.jit
def both_terms(weights: Weights, references: References, content: Terms, style: Terms, image: Array) -> Array:
    """Content and style terms of an image, `[2]`."""
    terms = {**content, **style}
    parts = objective(weights, terms, targets(weights, references, terms), image)[1]
    return split(parts, content)[0]


def with_strength(recipe: Recipe, path: Path, strength: float) -> Recipe:
    """The recipe with the weights of its style terms set for a strength in 0..1; nothing else changes.

    They are rounded to five digits, so that the last bits of a measurement do not make another run.
    """
    factor = path.factor(strength)
    return replace(recipe, {f"terms.{name}.weight": float(f"{float(term.weight) * factor:.5g}")
                            for name, term in roles(recipe.terms)[1].items()})


def balanced(weights: Weights, references: References, recipe: Recipe, strength: float = 0.5) -> Recipe:
    """Measures the path and sets the strength, in one."""
    return with_strength(recipe, style_path(weights, references, recipe), strength)


def spread(values: Sequence[float]) -> float:
    """How far apart positive numbers are: the standard deviation of their logarithms (0.1 ≈ 10 %)."""
    return float(np.std(np.log(np.asarray(values, float))))
