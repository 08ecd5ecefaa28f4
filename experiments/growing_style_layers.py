"""Style layers growing from conv1_1 to all five, at a fixed strength.

Source: course report "Deep Style", choice of style layers.
Question: which layers make it look painted?
Command: python experiments/growing_style_layers.py --content PHOTO --style PAINTING -o runs/layers
Cost: 5 lanes in 5 programs.
Look for: colours only with conv1_1; strokes from conv3_1 on; with conv5_1 shapes bend to the painting's.
"""

from runner import Setup, run

from jaxstyle.backbones.vgg import STYLE_LAYERS


def lanes(setup: Setup):
    return [
        setup.lane({"style layers": f"to {STYLE_LAYERS[count - 1]}"}, setup.recipe(
            terms__style__layers=STYLE_LAYERS[:count], terms__style__layer_weights=(1 / count,) * count))
        for count in range(1, 6)
    ]


if __name__ == "__main__":
    run(__doc__, lanes)
