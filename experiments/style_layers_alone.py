"""The painting's texture, from the Gram matrix of one layer alone.

Source: slides of the course report "Deep Style" (single-layer style reconstructions), after Gatys et al.
2015.
Question: what size of structure does one layer hold by itself?
Command: python experiments/style_layers_alone.py --content PHOTO --style PAINTING -o runs/texture-alone
Cost: 5 lanes in 5 programs; the photo is not used.
Look for: the higher the layer, the larger the structure that is right: colours, then strokes, then motifs;
what a single high layer does not see, fine grain above all, is left as it began.
"""

from runner import Setup, run

from jaxstyle.backbones.vgg import STYLE_LAYERS
from jaxstyle.losses import Gram


def lanes(setup: Setup):
    return [setup.lane({"layer": layer}, setup.recipe(terms={
        "style": Gram(weight=1e3, layers=(layer,), layer_weights=(1.0,))}, start__noise=1.0),
        setup.files(content=False)) for layer in STYLE_LAYERS]


if __name__ == "__main__":
    run(__doc__, lanes)
