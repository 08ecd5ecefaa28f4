"""Weights of the style layers: conv1_1 dominates, so conv3_1 and conv5_1 get more.

Source: course paper on semantic transfer: "conv1_1 dominates", weight conv3_1 and conv5_1 more; "make these
weights trained" (`jaxstyle tune` searches them, experiments/learned_weights.py descends).
Question: how is the style loss spread over the layers, and what does evening it out change?
Command: python experiments/layer_weights.py --content PHOTO --style PAINTING -o runs/layer-weights
Cost: 4 lanes in 2 programs. Every layer is a term of its own, so that the report shows what each contributes.
Look for: in the losses of a lane (weighted, as they count) which layer dominates where all weigh .2; with
more on conv3_1 and conv5_1, or with relative losses, larger strokes.
"""

from runner import Setup, run

from jaxstyle.backbones.vgg import STYLE_LAYERS
from jaxstyle.losses import Content, Gram
from jaxstyle.weights.scales import OXFORD


def lanes(setup: Setup):
    cases = {"equal": ((0.2,) * 5, "paper"), "conv3_1 and conv5_1 × 10": ((0.2, 0.2, 2, 0.2, 2), "paper"),
             "conv3_1 and conv5_1 × 100": ((0.2, 0.2, 20, 0.2, 20), "paper"),
             "relative": ((2.0,) * 5, "relative")}
    found = []
    for name, (shares, kind) in cases.items():
        terms = {layer: Gram(weight=1e3 * share if kind == "paper" else 10 * share, layers=(layer,),
                             layer_weights=(1.0,), normalization=kind)
                 for layer, share in zip(STYLE_LAYERS, shares)}
        terms["content"] = Content(weight=1.0, normalization=kind)
        recipe = setup.recipe(terms=terms, made_for=OXFORD if kind == "paper" else None)
        found.append(setup.lane({"layer weights": name}, recipe))
    return found


if __name__ == "__main__":
    run(__doc__, lanes)
