"""SGD, Adagrad, Adam and L-BFGS at the same learning rate, and each at its best.

Source: course report "Deep Style", comparison of optimisers: one learning rate for all, plain x − λ∂L/∂x for
SGD; it finds that SGD and Adagrad oscillate and that Adam does about as well as L-BFGS.
Question: what does a second-order method buy, and does the answer depend on the learning rate?
Command: python experiments/optimizers.py --content PHOTO --style PAINTING -o runs/optimizers
Cost: 20 lanes in 4 programs. A step evaluates once, of L-BFGS too.
Look for: a row is a solver, a column a learning rate: the report's comparison is a column, each at its best
is the lane of the least loss in its row. The rate is the first step's change of a pixel in [0, 1] (root mean
square for SGD and L-BFGS, whose own unit would depend on the scale of the loss). `jaxstyle tune PHOTO
PAINTING --recipe gatys-2015 --solver Adam -o runs/adam` searches the rate with strength and layer weights.
Seen: vgg19-slim, 64 pixels, 60 steps (--quick), from the photo under noise, total loss from 7e11: L-BFGS
8.1e9 to 8.8e9 whatever its first step; at their best Adam 1.5e10 (.03), Adagrad 2.3e10 (.1), SGD 2.7e10
(.03). At .03 for all Adam is second with 1.8 times L-BFGS' loss, at .003 with 6.7 times. SGD oscillates at .1
(25 of 60 steps go up) and diverges at .3; Adagrad and Adam go up in at most 6 steps there. So "Adam ≈ L-BFGS"
is what a well chosen rate comes near to. Rates that `tune --size 64 --steps 60` found (16 candidates; the
knees): SGD .048, Adagrad .1, Adam .095 and .027: between and at the columns that are best here.
"""

from runner import Setup, run

from jaxstyle.solvers import Adagrad, Adam, ArmijoLbfgs, Sgd
from jaxstyle.transfer.recipe import PIXEL_RANGE

RATES = (0.003, 0.01, 0.03, 0.1, 0.3)


def lanes(setup: Setup):
    solvers = {"SGD": lambda rate: Sgd(first_step=rate, momentum=0.0, box=PIXEL_RANGE),
               "Adagrad": lambda rate: Adagrad(learning_rate=rate, box=PIXEL_RANGE),
               "Adam": lambda rate: Adam(learning_rate=rate, box=PIXEL_RANGE),
               "L-BFGS": lambda rate: ArmijoLbfgs(first_step=rate, box=PIXEL_RANGE)}
    return [setup.lane({"solver": name, "learning rate": f"{rate:g}"}, setup.recipe(solver=made(rate)))
            for name, made in solvers.items() for rate in RATES]


if __name__ == "__main__":
    run(__doc__, lanes)
