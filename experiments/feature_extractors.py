"""One recipe, looked at through different networks.

Source: course report "Deep Style", feature extractors (ResNet, AlexNet, VGG-16, VGG-19).
Question: is it VGG, or would any network do?
Command: python experiments/feature_extractors.py --content PHOTO --style PAINTING -o runs/networks
Cost: 1 lane and 1 program for each network that is here (`jaxstyle weights list`); --weights picks one.
Look for: both VGGs paint; AlexNet's large strides leave a grid; ResNet's and SqueezeNet's styles are weak.
Distances of all lanes are measured by one network, the best VGG that is here (--judge NAME: another), so they
can be compared; the lane of that very network is at an advantage.
"""

from runner import Setup, run

from jaxstyle.backbones.vgg import STYLE_LAYERS
from jaxstyle.losses import Content, Gram
from jaxstyle.weights.store import available, best_available, load_weights

LAYERS = {  # module: (content, style)
    "VGG": ("relu4_2", STYLE_LAYERS),
    "AlexNet": ("relu4", ("relu1", "relu2", "relu3", "relu4", "relu5")),
    "SqueezeNet": ("fire6/concat", ("relu1", "fire3/concat", "fire5/concat", "fire7/concat", "fire9/concat")),
    "ResNet50": ("layer3_2/output", ("relu1", *(f"layer{i}_0/output" for i in range(1, 5)))),
    "GoogLeNet": ("inception_4b/output", ("conv1/relu_7x7", "conv2/relu_3x3", "inception_3b/output",
                                          "inception_4c/output", "inception_5a/output")),
}


def lanes(setup: Setup):
    found = []
    for name in [setup.weights] if setup.weights else available():
        content, style = LAYERS[type(load_weights(name).network).__name__]
        terms = {"content": Content(layers=(content,), normalization="relative"),
                 "style": Gram(weight=100.0, layers=style, normalization="relative")}
        recipe = setup.recipe(terms=terms, pooling=None, start__noise=0.3)
        found.append(setup.lane({"network": name}, recipe, weights=name))
    return found


def judge(setup: Setup):
    return setup.judge or best_available()


if __name__ == "__main__":
    run(__doc__, lanes, judge=judge)
