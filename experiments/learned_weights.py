"""Weights of the style layers by gradient through a short unrolled run, and by search for the same time.

Source: course paper on semantic transfer: "make these weights trained".
Question: can gradients find weights that an independent network likes better, and do they beat a search?
Command: python experiments/learned_weights.py --content PHOTO --style PAINTING -o runs/learned
Cost: 3 lanes in 1 program, after 12 gradients and 36 candidates (quick: 4 and 12) of an unrolled run of 12
steps. The target is the content plus the style distance in another network (--judge; the seeded random one if
not given).
Look for: what is printed: the target of the recipe's own weights, of the learned and of the searched ones;
then whether the full runs, measured by that network, keep the order. The report's distances say so.
"""

import sys

from runner import Setup, run

from jaxstyle import recipes
from jaxstyle.runs.manifest import load_references
from jaxstyle.sweeps.search.learning import learned_weights, searched_weights, with_factors
from jaxstyle.transfer.presets.translation import translated
from jaxstyle.weights.store import best_available, load_weights


def lanes(setup: Setup):
    weights, other = load_weights(setup.weights or best_available()), load_weights(judge(setup))
    recipe = translated(setup.recipe(200, recipes.GATYS_2015, start__noise=0.0), weights)
    given = (weights, other), load_references(setup.files()), recipe
    rounds = 4 if setup.quick else 12
    found = {"gradient": learned_weights(*given, rounds=rounds),
             "search": searched_weights(*given, count=3 * rounds)}
    factors = {"as they are": [1.0] * 5}
    for name, learned in found.items():
        factors[name] = [float(f"{factor:.4g}") for factor in learned.factors]
        print(f"{name}: target {learned.course[0]:.4f} -> {learned.target:.4f}, factors {factors[name]}",
              file=sys.stderr)
    return [setup.lane({"layer weights": name}, with_factors(recipe, each)) for name, each in factors.items()]


def judge(setup: Setup):
    return setup.judge or "random"


if __name__ == "__main__":
    run(__doc__, lanes, judge=judge)
