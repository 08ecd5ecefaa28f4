"""The painting scaled to 10, 30 and 60 percent of its own size, nearest neighbour, and used as it is.

Source: course report "Deep Style", style image scaled; it does not say what size its paintings have.
Question: how does the resolution of the painting set the size of strokes?
Command: python experiments/style_scale.py --content PHOTO --style PAINTING -o runs/style-scale
Cost: 4 lanes in 4 programs. The photo is brought to the size asked for beforehand; no painting is resized
again, so 100 % of a large one takes long. A quick run shrinks the painting to 320 pixels first.
Look for: a small painting gives fine, dense strokes; at 10 percent little but colours is left. Nothing is
made smaller than 16 pixels a side, which relu5_1 needs.
"""

from runner import Setup, run

import jaxstyle as js
from jaxstyle.ops.resize import resize, resize_to
from jaxstyle.pytrees import replace
from jaxstyle.sweeps.folder import INPUTS
from jaxstyle.transfer.recipe import Stage


def lanes(setup: Setup):
    painting = resize(setup.painting(), 320) if setup.quick else setup.painting()
    recipe = setup.recipe()
    found = []
    for percent in (10, 30, 60, 100):
        height, width = (max(16, round(side * percent / 100)) for side in painting.shape[:2])
        files = setup.derived(f"style-{percent:03d}", resize_to(painting, height, width, "nearest"))
        files = replace(files, {"content": str(setup.output / INPUTS / "photo-sized.png")})
        js.save(files.content, resize(js.load(setup.content), recipe.stages[-1].size))
        as_it_is = replace(recipe, {"stages": (Stage(size=None, steps=recipe.total_steps),)})
        found.append(setup.lane({"style scaled to": f"{percent} %"}, as_it_is, files))
    return found


if __name__ == "__main__":
    run(__doc__, lanes)
