"""Choosing the weight of the style for the user: one strength from 0 to 1, whatever image, size and network.

A result lies between the photo and the painting, at relative distances C and S of `metrics.distances` that
mean the same for any pictures. Its strength is √C / (√C + √S): 0 is the photo, 1 the painting's texture,
0.5 as far from the one as from the other. Which weight of the style belongs to which strength is
measured, by a few small runs with weights around the balance of gradients.

A term of nearest neighbours stands between both: it paints, and keeps what stands where. Its weight is
multiplied by the root of the others' factor, so that it fades beside the photo at 0 and beside the texture at
1. Where the photo is kept in the painting's colours (`palette`, `Gamut`, `Palette`) or its flat parts count
less (`structure`), it gets its own back below `RECOLOURED`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.losses import Content, Gamut, Neighbours, Palette, Pixel, SelfSimilarity
from jaxstyle.metrics.distances import distances, layers_to_measure
from jaxstyle.ops.resize import resize_to
from jaxstyle.pytrees import replace
from jaxstyle.references import References
from jaxstyle.solvers import ArmijoLbfgs, begin_search, search_step
from jaxstyle.solvers.iterate import Box
from jaxstyle.transfer.controls import prepared
from jaxstyle.transfer.inputs import sized
from jaxstyle.transfer.objective import Term, Terms, objective, targets
from jaxstyle.transfer.program import network_for
from jaxstyle.transfer.recipe import Recipe, Stage

RUN_STEPS, RUN_SIZE = 50, 96
RECOLOURED = 0.3
GRID = 10.0 ** np.linspace(-2.5, 2.5, 7)


@dataclass(frozen=True)
class Balance:
    """What was measured for a pair of pictures: strengths, rising, and the style's factor for each."""

    strengths: np.ndarray
    factors: np.ndarray

    def factor(self, strength: float) -> float:
        """What to multiply the style's weights with for a strength in 0..1; constant beyond the measured.

        Raises:
          JaxstyleError: a strength outside.
        """
        if not 0 <= strength <= 1:
            raise JaxstyleError(f"strength is a number from 0 (photo) to 1 (style), not {strength}")
        return float(np.exp(np.interp(strength, self.strengths, np.log(self.factors))))


class Roles(NamedTuple):
    """Terms that keep the photo, and terms that bring the style."""

    content: Terms
    style: Terms


def roles(terms: Terms) -> Roles:
    """Terms that keep the photo, and terms that bring the style; those of the image alone are neither.

    Raises:
      JaxstyleError: one kind is missing, so there is nothing to balance.
    """
    content = {name: term for name, term in terms.items()
               if isinstance(term, Content | Pixel | SelfSimilarity)}
    style = {name: term for name, term in terms.items() if term.layers and name not in content}
    if not content or not style:
        raise JaxstyleError("a strength balances content against style terms; this recipe has not both")
    return Roles(content, style)


def power_of(term: Term) -> float:
    """The exponent with which the factor of a strength changes the weight of a style term."""
    return 0.5 if isinstance(term, Neighbours) else 1.0


def measure_balance(weights: Weights, references: References, recipe: Recipe, steps: int = RUN_STEPS,
                    size: int = RUN_SIZE) -> Balance:
    """Measures a recipe with small runs of at most `size` pixels, and corrects for the recipe's own size.

    Raises:
      JaxstyleError: no content image, terms that cannot be balanced, or a style that does not move the photo.
    """
    if references.content is None:
        raise JaxstyleError("a strength needs a photo; without one the style is all there is")
    parts = roles(recipe.terms)
    last = recipe.stages[-1]
    fits = last.size is not None and last.size <= size
    small = last if fits else Stage(size=size, steps=last.steps, by=last.by)
    network = network_for(weights, recipe)
    given = prepared(sized(references, small, recipe.style_scale), recipe)
    layers = layers_to_measure(network, recipe)
    found = jax.device_get(trade_offs(network, given, parts, steps, layers,
                                      getattr(recipe.solver, "box", None)))
    strengths = strength_of(found["content"], found["style"])
    good = np.isfinite(strengths) & np.isfinite(found["factors"]) & (found["factors"] > 0)
    if not good.any():
        raise JaxstyleError("the style terms do not move the photo: no strength can be measured")
    factors = found["factors"]
    if not fits:
        full = prepared(sized(references, last, recipe.style_scale), recipe)
        factors = factors * growth_with_size(network, given, full, parts, found["image"], recipe.rows)
    return Balance(*rising(strengths[good], factors[good]))


def strength_of(content: Any, style: Any) -> np.ndarray:
    """√C / (√C + √S) of relative distances from photo and painting (see the top)."""
    gone, left = np.sqrt(content), np.sqrt(style)
    share: np.ndarray = gone / (gone + left)
    return share


def rising(strengths: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The measured points without those at which the strength falls, which a short run may leave."""
    kept = [0]
    for i in range(1, len(strengths)):
        if strengths[i] > strengths[kept[-1]]:
            kept.append(i)
    return strengths[kept], factors[kept]


@partial(jax.jit, static_argnames=("steps", "layers", "box"))
def trade_offs(weights: Weights, references: References, roles: Roles, steps: int,
               layers: tuple[tuple[str, ...], tuple[str, ...]], box: Box = None) -> dict[str, Array]:
    """The style alone, and then compromises with the style's weights multiplied by factors around a balance.

    At the balance the gradient of the content terms (at the result of the style alone) is as long as that of
    the style terms (at the photo): each where it is far from zero.

    Returns:
      "content", "style": relative distances `[n]` of the compromises at `layers`; "factors" `[n]`;
      "image": the result of the style alone.
    """
    content, terms = roles.content, {**roles.content, **roles.style}
    goals = targets(weights, references, terms)
    photo = jnp.asarray(references.content)

    def both(x: Array) -> Array:
        _, (parts, _) = objective(weights, terms, goals, x)
        return split(parts, content)

    def run(kept: Array, factor: Array) -> Array:
        def fun(x: Array, memory: Any) -> tuple[Array, tuple[Any, Any]]:
            _, (parts, _) = objective(weights, terms, goals, x)
            shares = {name: kept if name in content else factor ** power_of(term)
                      for name, term in terms.items()}
            total = sum((shares[name] * part for name, part in parts.items()), start=jnp.zeros(()))
            return total, ({}, memory)

        search = begin_search(solver, fun, photo)
        image: Array = lax.fori_loop(0, steps, lambda _, at: search_step(solver, fun, at), search).best.x
        return image

    def gradient_norms(x: Array) -> Array:
        values, back = jax.vjp(both, x)
        rows = jnp.eye(2, dtype=values.dtype)
        return jnp.stack([jnp.linalg.norm(back(row)[0].ravel()) for row in rows])

    def compromise(carry: tuple[Array, Array], step: Array) -> tuple[tuple[Array, Array], tuple[Any, Array]]:
        balance, image = carry
        alone = jnp.isnan(step)
        factor = jnp.where(alone, 1.0, balance * step)
        x = run(jnp.where(alone, 0.0, 1.0), factor)
        balance = jnp.where(alone, gradient_norms(x)[0] / at_photo[1], balance)
        shown = jnp.clip(x, 0, 1)  # what a picture file can hold
        found = distances(weights, references, shown, *layers)
        return (balance, jnp.where(alone, shown, image)), (found, factor)

    solver = ArmijoLbfgs(box=box)
    at_photo = gradient_norms(photo)
    grid = jnp.concatenate([jnp.full(1, jnp.nan, photo.dtype), jnp.asarray(GRID, photo.dtype)])
    (_, image), (values, factors) = lax.scan(compromise, (jnp.ones((), photo.dtype), photo), grid)
    return {"content": values["content"][1:], "style": values["style"][1:], "factors": factors[1:],
            "image": image}


def split(parts: dict[str, Array], content: Terms) -> Array:
    """Sums of the content and of the style terms, `[2]`."""
    kept = sum((part for name, part in parts.items() if name in content), start=jnp.zeros(()))
    style = sum((part for name, part in parts.items() if name not in content), start=jnp.zeros(()))
    return jnp.stack([kept, style])


def growth_with_size(weights: Weights, small: References, full: References, roles: Roles, image: np.ndarray,
                     rows: int | None = None) -> float:
    """How much more content terms grow than style terms from the small size to the full one, for one picture.

    Content is looked at for the style alone, style for the photo: there they are far from zero.
    """
    grown = []
    for references in (small, full):
        height, width, _ = references.content.shape
        ends = (resize_to(image, height, width), jnp.asarray(references.content))
        values = [both_terms(weights, references, roles, end, rows) for end in ends]
        grown.append(float(values[0][0]) / float(values[1][1]))
    return grown[1] / grown[0]


@partial(jax.jit, static_argnames="rows")
def both_terms(weights: Weights, references: References, roles: Roles, image: Array,
               rows: int | None = None) -> Array:
    """Content and style terms of an image, `[2]`."""
    terms = {**roles.content, **roles.style}
    goals = targets(weights, references, terms, rows)
    _, (parts, _) = objective(weights, terms, goals, image, rows=rows)
    return split(parts, roles.content)


def with_strength(recipe: Recipe, balance: Balance, strength: float) -> Recipe:
    """The recipe with the weights of its style terms set for a strength in 0..1, and the photo's own colours
    and flat parts kept near 0; nothing else changes.

    Weights are rounded to five digits, so that the last bits of a measurement do not make another run.
    """
    factor = balance.factor(strength)
    content, style = roles(recipe.terms)
    weights = {f"terms.{name}.weight": float(f"{float(term.weight) * factor ** power_of(term):.5g}")
               for name, term in style.items()}
    freed = min(1.0, strength / RECOLOURED)
    own = {f"terms.{name}.{field}": value * freed
           for name, term in content.items() if isinstance(term, Content)
           for field in ("palette", "structure") if (value := getattr(term, field)) is not None}
    # Squares of colour differences win against what keeps them unless they fade faster than the rest.
    colours = {f"terms.{name}.weight": term.weight * freed**3
               for name, term in recipe.terms.items() if isinstance(term, Gamut | Palette)}
    return replace(recipe, {**weights, **own, **colours})


def balanced(weights: Weights, references: References, recipe: Recipe, strength: float = 0.5) -> Recipe:
    """Measures and sets the strength, in one."""
    return with_strength(recipe, measure_balance(weights, references, recipe), strength)


def spread(values: Sequence[float]) -> float:
    """How far apart positive numbers are: the standard deviation of their logarithms (0.1 ≈ 10 %)."""
    return float(np.std(np.log(np.asarray(values, float))))
