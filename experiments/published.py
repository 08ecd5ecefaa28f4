"""Our result beside a published picture of the same pair, with distances.

Source: any paper or program whose picture of the same photo and painting is at hand.
Question: how far are our results from the photo and the painting, beside what others published?
Command: python experiments/published.py --content PHOTO --style PAINTING PUBLISHED -o runs/published
Cost: 4 lanes in 4 programs. The last picture given after --style is the published one; its lane starts from
it and takes a single step of no size, so that it is measured by the same network as the others and stands in
the sheet.
Look for: the distances in the report: which recipe is nearest to where the published picture lies.
"""

from runner import Setup, run

import jaxstyle as js
from jaxstyle import recipes
from jaxstyle.ops.resize import resize_to
from jaxstyle.pytrees import replace
from jaxstyle.runs.manifest import Files
from jaxstyle.solvers import Adam
from jaxstyle.transfer.recipe import Start


def lanes(setup: Setup):
    files = setup.files(styles=2)
    ours = Files(content=files.content, styles=files.styles[:1])
    height, width = js.load(setup.content).shape[:2]
    fitted = setup.derived("published", resize_to(js.load(setup.style[-1]), height, width)).styles[0]
    still = setup.recipe(1, solver=Adam(learning_rate=0.0), start=Start(noise=0.0, base="image"))
    found = [setup.lane({"picture": "published"}, recipes.with_steps(still, 1),
                        replace(ours, {"start": fitted}))]
    return found + [setup.lane({"picture": name}, setup.recipe(300, recipes.named(name)), ours)
                    for name in ("gatys-2015", "deep-style", "default")]


if __name__ == "__main__":
    run(__doc__, lanes)
