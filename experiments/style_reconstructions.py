"""The painting's texture, from the Gram matrices of more and more layers.

Source: Gatys, Ecker & Bethge 2015, figure 1 (style reconstructions); their texture synthesis, NIPS 2015.
Question: what size of structure does each layer bring?
Command: python experiments/style_reconstructions.py --content PHOTO --style PAINTING -o runs/texture
Cost: 5 lanes in 5 programs; the photo is not used.
Look for: colours and speckle first, then strokes, then whole motifs, always scattered anew.
"""

from runner import Setup, run

from jaxstyle.backbones.vgg import STYLE_LAYERS
from jaxstyle.losses import Gram


def lanes(setup: Setup):
    return [
        setup.lane({"layers": f"to {STYLE_LAYERS[count - 1]}"}, setup.recipe(terms={
            "style": Gram(layers=STYLE_LAYERS[:count], layer_weights=(1 / count,) * count)}),
            setup.files(content=False))
        for count in range(1, 6)
    ]


if __name__ == "__main__":
    run(__doc__, lanes)
