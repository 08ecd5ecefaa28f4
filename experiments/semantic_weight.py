"""Semantic weight γ: how much the maps steer which patch goes where.

Source: Champandard 2016 (neural doodle), the weight γ of semantic maps in patch matching; third experiment of
the course report on semantic style transfer.
Question: when do the maps win over looks, and what do they cost in smoothness?
Command: python experiments/semantic_weight.py --content PHOTO --style PAINTING --content-map MAP
--style-map MAP -o runs/gamma
Cost: 7 lanes in 1 program.
Look for: at 0 patches are matched by looks alone, so hair may end up on a sleeve; up to 1 each region is
painted from its own kind; from 10 on looks hardly count, and at 200 the patches of a region are picked almost
blindly: strokes repeat, average out and lose the sitter.
γ is relative (see `losses.patches.matching.matching_key`): at 1 features and maps count the same, in any
network.
"""

from runner import Setup, run

from jaxstyle.transfer.presets import PATCHES


def lanes(setup: Setup):
    files = setup.files(maps=True)
    return [setup.lane({"γ": f"{gamma:g}"}, setup.recipe(200, PATCHES, terms__style__gamma=gamma), files)
            for gamma in (0.0, 0.1, 0.3, 1.0, 10.0, 50.0, 200.0)]


if __name__ == "__main__":
    run(__doc__, lanes)
