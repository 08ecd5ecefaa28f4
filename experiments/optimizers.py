"""SGD, Adagrad, Adam and L-BFGS for the same number of steps.

Source: course report "Deep Style", comparison of optimisers.
Question: what does a second-order method buy?
Command: python experiments/optimizers.py --content PHOTO --style PAINTING -o runs/optimizers
Cost: 6 lanes in 6 programs. A step of L-BFGS with line search evaluates once or twice, of the others once.
Look for: in the plot of losses both L-BFGS fall fastest, Adam follows, SGD and Adagrad stay far above.
"""

from runner import Setup, run

from jaxstyle.solvers import Adagrad, Adam, ArmijoLbfgs, Lbfgs, RMSprop, Sgd


def lanes(setup: Setup):
    solvers = {"SGD": Sgd(), "Adagrad": Adagrad(), "RMSprop": RMSprop(), "Adam": Adam(),
               "L-BFGS (line search)": Lbfgs(), "L-BFGS (one evaluation)": ArmijoLbfgs()}
    return [setup.lane({"solver": name}, setup.recipe(solver=solver), keep_solver=True)
            for name, solver in solvers.items()]


if __name__ == "__main__":
    run(__doc__, lanes)
