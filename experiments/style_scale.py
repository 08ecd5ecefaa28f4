"""The painting scaled to 10, 30 and 60 percent, nearest neighbour.

Source: course report "Deep Style", style image scaled.
Question: how does the resolution of the painting set the size of strokes?
Command: python experiments/style_scale.py --content PHOTO --style PAINTING -o runs/style-scale
Cost: 4 lanes in 4 programs (the painting is not resized again; its scale is of the result's size).
Look for: a small painting gives fine, dense strokes; at 10 percent little but colours is left.
"""

from runner import Setup, run

from jaxstyle.ops.resize import resize_to
from jaxstyle.transfer.recipe import Stage


def lanes(setup: Setup):
    painting = setup.painting()
    # Ten percent of the painting's shorter side must be the 16 pixels that relu5_1 needs.
    least = round(16 / 0.1 * max(painting.shape[:2]) / min(painting.shape[:2]))
    found = []
    for percent in (10, 30, 60, 100):
        height, width = (max(16, round(side * percent / 100)) for side in painting.shape[:2])
        files = setup.derived(f"style-{percent:03d}", resize_to(painting, height, width, "nearest"))
        stage = setup.recipe().stages[-1]
        stages = (Stage(size=max(least, stage.size), steps=stage.steps),)
        recipe = setup.recipe(stages=stages, style_scale=percent / 100)
        found.append(setup.lane({"style scaled to": f"{percent} %"}, recipe, files))
    return found


if __name__ == "__main__":
    run(__doc__, lanes)
