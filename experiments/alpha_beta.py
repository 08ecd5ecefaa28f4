"""Content weight α and style weight β from (1, 1e-5) to (1e-5, 1).

Source: course report "Deep Style", content/style trade-off.
Question: where between a plain photo and pure texture does the picture lie?
Command: python experiments/alpha_beta.py --content PHOTO --style PAINTING -o runs/alpha-beta
Cost: 7 lanes in 1 program.
Look for: no visible style at the left end, no visible photo at the right; the knee of the Pareto front is
usually what people pick.
"""

from runner import Setup, run


def lanes(setup: Setup):
    pairs = ((1, 1e-5), (1, 1e-3), (1, 1e-1), (1, 1), (1e-1, 1), (1e-3, 1), (1e-5, 1))
    return [setup.lane({"α, β": f"{alpha:g}, {beta:g}"},
                       setup.recipe(terms__content__weight=alpha, terms__style__weight=beta))
            for alpha, beta in pairs]


if __name__ == "__main__":
    run(__doc__, lanes)
