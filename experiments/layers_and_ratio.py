"""Style layers against the ratio of content to style.

Source: Gatys, Ecker & Bethge 2015, figure 3.
Question: what do deeper style layers add, and what does α/β trade?
Command: python experiments/layers_and_ratio.py --content PHOTO --style PAINTING -o runs/figure3
Cost: 20 lanes in 5 programs.
Look for: downwards, brush strokes grow from speckle to swirls as deeper layers join; to the right, the photo
comes forward. The row of conv1_1 alone matches little more than colours.
"""

from runner import Setup, run

from jaxstyle.backbones.vgg import STYLE_LAYERS


def lanes(setup: Setup):
    return [
        setup.lane({"style layers": f"to {STYLE_LAYERS[count - 1]}", "α/β": f"{ratio:.0e}"}, setup.recipe(
            terms__style__layers=STYLE_LAYERS[:count], terms__style__layer_weights=(1 / count,) * count,
            terms__style__weight=1 / ratio))
        for count in range(1, 6) for ratio in (1e-5, 1e-4, 1e-3, 1e-2)
    ]


if __name__ == "__main__":
    run(__doc__, lanes)
