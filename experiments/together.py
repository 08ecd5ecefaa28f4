"""Many paintings as one style: of an author, a period, a movement.

Source: wish list of the slides of the course report "Deep Style": all paintings of one author as one style.
Question: do several paintings together make one hand, or a blur?
Command: python experiments/together.py --content PHOTO --style PAINTING PAINTING … -o runs/together
Cost: 3 lanes in 2 programs.
Look for: with all, every place of the photo finds a fitting one in some painting, so colours and strokes are
richer than of the first alone, and nothing is averaged but the large texture. Measured shares count the more
typical paintings more; where all are alike they are nearly equal.
"""

from runner import Setup, run

from jaxstyle import load, recipes
from jaxstyle.metrics.typical import typical_shares
from jaxstyle.runs.manifest import Files
from jaxstyle.transfer.controls import as_one_style
from jaxstyle.weights.store import best_available, load_weights


def lanes(setup: Setup):
    weights = load_weights(setup.weights or best_available())
    shares = typical_shares(weights, [load(path) for path in setup.style])
    base = setup.recipe(200, recipes.DEFAULT)
    every = Files(content=str(setup.content), styles=tuple(map(str, setup.style)))
    equal = (1 / len(shares),) * len(shares)
    cases = {"the first alone": (base, setup.files()), "all, equal": (as_one_style(base, equal), every),
             "all, measured": (as_one_style(base, shares), every)}
    return [setup.lane({"paintings": name}, recipe, files) for name, (recipe, files) in cases.items()]


if __name__ == "__main__":
    run(__doc__, lanes)
