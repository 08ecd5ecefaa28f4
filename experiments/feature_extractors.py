"""One recipe, looked at through different networks: with the report's controls, and with ours.

Source: course report "Deep Style", feature extractors (ResNet, AlexNet, VGG-16, VGG-19), all with the same
hyper-parameters and the same start, and absolute losses.
Question: is it VGG, or would any network do?
Command: python experiments/feature_extractors.py --content PHOTO --style PAINTING -o runs/networks
Cost: 2 lanes and 2 programs for each network that is here (`jaxstyle weights list`); those that are not are
named; --weights picks one.
Look for: with absolute losses (½Σ(F − P)², E_l, α/β 1e-3 whatever the network) the balance of content and
style is another in each, because their features differ in scale; relative ones (ours) compare networks and
not scales. Both VGGs paint; AlexNet's large strides leave a grid; ResNet's and SqueezeNet's styles are weak.
Distances of all lanes are measured by one network, the best VGG that is here (--judge NAME: another); the
lane of that very network is at an advantage.
"""

from runner import Setup, layers_of, networks_here, run

from jaxstyle.losses import Content, Gram
from jaxstyle.weights.store import best_available


def lanes(setup: Setup):
    found = []
    for name in [setup.weights] if setup.weights else networks_here():
        content, style = layers_of(name)
        for losses, beta, kind in (("absolute", 1e3, "paper"), ("relative", 100.0, "relative")):
            terms = {"content": Content(layers=(content,), normalization=kind),
                     "style": Gram(weight=beta, layers=style, normalization=kind)}
            recipe = setup.recipe(terms=terms, pooling=None, made_for=None)  # as they are: not translated
            found.append(setup.lane({"network": name, "losses": losses}, recipe, weights=name))
    return found


def judge(setup: Setup):
    return setup.judge or best_available()


if __name__ == "__main__":
    run(__doc__, lanes, judge=judge)
