"""Maximum against average pooling.

Source: Gatys, Ecker & Bethge 2015 ("average pooling gives slightly more appealing results"); course report.
Question: does the pooling of the network show?
Command: python experiments/pooling.py --content PHOTO --style PAINTING -o runs/pooling
Cost: 6 lanes in 2 programs.
Look for: average pooling is smoother and its loss falls faster, because its gradient reaches every pixel.
"""

from runner import Setup, run


def lanes(setup: Setup):
    return [setup.lane({"pooling": kind, "seed": str(seed)}, setup.recipe(pooling=kind, seed=seed))
            for kind in ("max", "average") for seed in range(3)]


if __name__ == "__main__":
    run(__doc__, lanes)
