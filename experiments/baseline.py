"""One photo in the style of several paintings, with all losses against steps.

Source: course report "Deep Style", its baseline (figures 2 and 3), here the recipe `deep-style`.
Question: what does the method give, and how do total, content and style loss fall?
Command: python experiments/baseline.py --content PHOTO --style PAINTING … -o runs/baseline
Cost: a lane for each painting, in 1 program if they have one shape.
Look for: in loss-parts.png total, content and style loss of every lane in one plot, weighted as they count.
The style's loss leads and falls the most; the content's stays behind it and falls slowly.
"""

from pathlib import Path

from runner import Setup, run

from jaxstyle import recipes
from jaxstyle.runs.manifest import Files


def lanes(setup: Setup):
    return [setup.lane({"painting": Path(path).stem}, setup.recipe(500, recipes.DEEP_STYLE),
                       Files(content=str(setup.content), styles=(str(path),))) for path in setup.style]


if __name__ == "__main__":
    run(__doc__, lanes)
