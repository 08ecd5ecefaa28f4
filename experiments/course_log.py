"""The course implementation: noise blended with the photo, Adam at 2.0, 200 steps, with its log.

Source: a published course implementation; its log at 400×300: total cost 5.0e9 at step 0, 9.4e8 (20), 4.8e8
(40), 3.1e8 (60); style cost 1.26e8 → 7.8e6 while content cost rises 7.9e3 → 1.7e4.
Question: does the same recipe give the same log?
Command: python experiments/course_log.py --content PHOTO --style PAINTING --size 400 -o runs/course
Cost: 2 lanes in 2 programs.
Look for: metrics.jsonl at steps 20, 40, 60. Numbers are comparable only with the Caffe VGG-19 weights, whose
input is 0 … 255; the shape of the curve with any. Its costs are content ×10 and style ×40, content
Σ(F−P)²/(4HWC), Adam 2.0 in 0 … 255, noise of ±20 with a share of 0.6; the second lane is L-BFGS on the same.
"""

from runner import Setup, run

from jaxstyle.losses import Content, Gram
from jaxstyle.solvers import Adam, ArmijoLbfgs
from jaxstyle.transfer.recipe import Start


def lanes(setup: Setup):
    terms = {"content": Content(weight=10 / 4, normalization="mean"),
             "style": Gram(weight=40.0, normalization="paper")}
    start = Start(noise=0.6, deviation=20 / 255)
    solvers = {"Adam 2.0": Adam(learning_rate=2 / 255), "L-BFGS": ArmijoLbfgs()}
    return [setup.lane({"solver": name}, setup.recipe(200, terms=terms, start=start, solver=solver))
            for name, solver in solvers.items()]


def snapshots(setup: Setup):
    return setup.at(20, 40, 60, 200)[:-1]


if __name__ == "__main__":
    run(__doc__, lanes, snapshots=snapshots)
