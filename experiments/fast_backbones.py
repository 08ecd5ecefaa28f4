"""The loss network: VGG-19, VGG-16, and what else is here.

Source: course report (feature extractors); Johnson, Alahi & Fei-Fei 2016 (VGG-16).
Question: how much does the network that is looked through matter?
Command: python experiments/fast_backbones.py --style PAINTING --photos DIR -o runs/fast-backbones
Cost: 1 training for each network of `jaxstyle weights list` that is here.
Look for: losses relative to their targets cannot be compared between networks; look at the pictures.
"""

import sys

from fast_runner import main

from jaxstyle import replace
from jaxstyle.losses import Content, Gram, TotalVariation
from jaxstyle.weights.registry import registry
from jaxstyle.weights.store import available, load_weights

LAYERS = {  # module: (content, style)
    "VGG": ("relu4_2", ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")),
    "AlexNet": ("relu4", ("relu1", "relu2", "relu3", "relu4", "relu5")),
    "SqueezeNet": ("fire6/concat", ("relu1", "fire3/concat", "fire5/concat", "fire7/concat", "fire9/concat")),
    "ResNet50": ("layer3_2/output", ("relu1", *(f"layer{i}_0/output" for i in range(1, 5)))),
    "GoogLeNet": ("inception_4b/output", ("conv1/relu_7x7", "conv2/relu_3x3", "inception_3b/output",
                                          "inception_4c/output", "inception_5a/output")),
}


def variants(base):
    found = {}
    for name in registry().keys() - available().keys():
        print(f"not here: {name} (jaxstyle weights fetch {name})", file=sys.stderr)
    for name in available():
        kind = type(load_weights(name).network).__name__
        if name == "random" or kind not in LAYERS:
            continue
        content, style = LAYERS[kind]
        terms = {"content": Content(layers=(content,), normalization="relative"),
                 "style": Gram(weight=6.0, layers=style, normalization="relative"), "tv": TotalVariation()}
        found[name] = replace(base, {"terms": terms, "pooling": None}), name
    return found


if __name__ == "__main__":
    raise SystemExit(main(__doc__, variants))
