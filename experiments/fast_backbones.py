"""The loss network: VGG-19, VGG-16, and what else is here.

Source: course report (feature extractors); Johnson, Alahi & Fei-Fei 2016 (VGG-16).
Question: how much does the network that is looked through matter?
Command: python experiments/fast_backbones.py --style PAINTING --photos DIR -o runs/fast-backbones
Cost: 1 training for each network of `jaxstyle weights list` that is here.
Look for: losses relative to their targets cannot be compared between networks; look at the pictures.
"""

from fast_runner import main
from runner import layers_of, networks_here

from jaxstyle import replace
from jaxstyle.losses import Content, Gram, TotalVariation


def variants(base):
    found = {}
    for name in networks_here():
        if name == "random":
            continue
        content, style = layers_of(name)
        terms = {"content": Content(layers=(content,), normalization="relative"),
                 "style": Gram(weight=6.0, layers=style, normalization="relative"), "tv": TotalVariation()}
        found[name] = replace(base, {"terms": terms, "pooling": None}), name
    return found


if __name__ == "__main__":
    raise SystemExit(main(__doc__, variants))
