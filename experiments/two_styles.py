"""Two paintings at once.

Source: course report "Deep Style", two styles.
Question: does a blend look like both, or like neither?
Command: python experiments/two_styles.py --content PHOTO --style ONE TWO -o runs/two-styles
Cost: 3 lanes in 2 programs; in 3 if the paintings differ in shape.
Look for: the blend takes colours and strokes of both everywhere; it does not divide the picture between them.
"""

from runner import Setup, run

from jaxstyle.runs.manifest import Files


def lanes(setup: Setup):
    one, two = setup.files(styles=2).styles
    choices = {"first": (one,), "second": (two,), "both": (one, two)}
    return [setup.lane({"styles": name}, setup.recipe(), Files(content=str(setup.content), styles=styles))
            for name, styles in choices.items()]


if __name__ == "__main__":
    run(__doc__, lanes)
