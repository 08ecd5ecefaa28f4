"""From one painting to another, with shares that sum to 1.

Source: course report "Deep Style", style interpolation; Dumoulin, Shlens & Kudlur 2017 for fast networks.
Question: is the way between two styles smooth?
Command: python experiments/style_interpolation.py --content PHOTO --style ONE TWO -o runs/interpolation
Cost: 5 lanes in 1 program.
Look for: colours change evenly; strokes of one painting often win before its share reaches a half.
"""

from runner import Setup, run


def lanes(setup: Setup):
    files = setup.files(styles=2)
    return [setup.lane({"share of the second": f"{share:g}"},
                       setup.recipe(terms__style__blend=(1 - share, share)), files)
            for share in (0.0, 0.25, 0.5, 0.75, 1.0)]


if __name__ == "__main__":
    run(__doc__, lanes)
