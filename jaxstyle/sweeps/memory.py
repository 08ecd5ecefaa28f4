"""Lanes of a sweep that fit into a given memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jax.sharding import Mesh

from jaxstyle.backbones.perceptual import Weights
from jaxstyle.references import References
from jaxstyle.sweeps.batches import Options
from jaxstyle.sweeps.capacity import fitting_mesh, fitting_width, stage_memory
from jaxstyle.sweeps.plan import Lane
from jaxstyle.sweeps.runner import grouped, references_by_files
from jaxstyle.transfer.layout import lane_mesh
from jaxstyle.transfer.memory import does_not_fit, memory_budget, smaller
from jaxstyle.transfer.recipe import Recipe
from jaxstyle.weights.store import load_weights


def fitting_recipes(weights: Weights, references: Sequence[References], recipes: Sequence[Recipe],
                    mesh: Mesh, options: Options) -> list[Recipe]:
    """Recipes of one group that fit into `options.memory` bytes (see `memory_budget`).

    First there are fewer lanes and devices, down to one; then what `transfer.memory.smaller` changes.

    Raises:
      JaxstyleError: nothing fits.
    """
    mesh = fitting_mesh(weights, references, recipes, mesh, options.width, options.memory)
    budget = memory_budget(list(mesh.devices.flat), options.memory, references)
    chosen = list(recipes)
    while True:
        if options.width is None:
            width = fitting_width(weights, references, chosen, mesh, options.memory)
        else:
            width = options.width * mesh.devices.size
        needed = stage_memory(weights, references, chosen, width, mesh)
        if needed <= budget:
            return chosen
        less = [smaller(weights, given, recipe) for given, recipe in zip(references, chosen)]
        if None in less:
            raise does_not_fit(needed, budget)
        chosen = [recipe for recipe in less if recipe is not None]


def fitting_lanes(lanes: Sequence[Lane], options: Options, mesh: Mesh | None = None) -> list[Lane]:
    """Lanes whose programs, group by group, fit into `options.memory` bytes; as they are if that is None.

    Raises:
      JaxstyleError: those of some group do not.
    """
    fitted = list(lanes)
    if options.memory is None:
        return fitted
    mesh = mesh or lane_mesh()
    references = references_by_files(lanes)
    for group in grouped(lanes, references, Options()):
        recipes = fitting_recipes(
            load_weights(lanes[group[0]].weights), [references[lanes[i].files] for i in group],
            [lanes[i].recipe for i in group], mesh, options)
        for i, recipe in zip(group, recipes):
            fitted[i] = replace(lanes[i], recipe=recipe)
    return fitted
