"""The photo, from the features of one layer.

Source: Gatys, Ecker & Bethge 2015, figure 1 (content reconstructions); Mahendran & Vedaldi 2015.
Question: what does each layer still know of the photo?
Command: python experiments/content_reconstructions.py --content PHOTO --style PAINTING -o runs/content
Cost: 5 lanes in 5 programs; the painting is not used.
Look for: conv1_1 to conv3_1 are almost perfect; conv4_1 and conv5_1 keep objects and their places but lose
exact pixels.
"""

from runner import Setup, run

from jaxstyle.backbones.vgg import STYLE_LAYERS
from jaxstyle.losses import Content
from jaxstyle.runs.manifest import Files


def lanes(setup: Setup):
    photo = Files(content=str(setup.content))
    return [
        setup.lane({"layer": layer}, setup.recipe(terms={"content": Content(layers=(layer,))},
                                                  start__noise=1.0), photo)
        for layer in STYLE_LAYERS
    ]


if __name__ == "__main__":
    run(__doc__, lanes)
