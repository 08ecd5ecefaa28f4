"""The course implementation: noise blended with the photo, Adam at 2.0, 200 steps, with its log.

Source: course report "Improved Artistic Images"; its log at 400×300, printed after the update: total cost
5.0e9 at "iteration 0" (one step), 9.4e8 (20), 4.8e8 (40), 3.1e8 (60); style cost 1.26e8 → 7.8e6 while
content cost rises 7.9e3 → 1.7e4.
Question: does the same recipe give the same log?
Command: python experiments/course_log.py --content PHOTO --style PAINTING --size 400 -o runs/course
Cost: 2 lanes in 2 programs.
Look for: metrics.jsonl at steps 1, 21, 41, 61. Numbers are comparable only with the Caffe VGG-19 weights,
whose input is 0 … 255; the shape of the curve with any. The recipe is `improved-artistic`; the second lane
is L-BFGS on the same.
"""

from runner import Setup, run

from jaxstyle import recipes
from jaxstyle.solvers import ArmijoLbfgs
from jaxstyle.transfer.recipe import PIXEL_RANGE


def lanes(setup: Setup):
    base = recipes.IMPROVED_ARTISTIC
    solvers = {"Adam 2.0": base.solver, "L-BFGS": ArmijoLbfgs(box=PIXEL_RANGE)}
    return [setup.lane({"solver": name}, setup.recipe(200, base=base, solver=solver))
            for name, solver in solvers.items()]


def snapshots(setup: Setup):
    return setup.at(*range(1, 200, 20), 200)[:-1]


if __name__ == "__main__":
    run(__doc__, lanes, snapshots=snapshots)
