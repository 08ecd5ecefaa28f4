"""The photo, from the features of one of Johnson's layers.

Source: slides of the course report "Deep Style" (Johnson's layers on VGG-16); Johnson et al. 2016, figure 3.
Question: what does each of the layers that fast networks are trained with still know of the photo?
Command: python experiments/content_johnson.py --content PHOTO --style PAINTING --weights vgg16 -o
runs/johnson
Cost: 4 lanes in 4 programs; the painting is not used. Takes VGG-16 (`jaxstyle weights fetch vgg16`); without
it the network that is here, whose layers of these names are VGG-19's or, in vgg19-slim, not trained to be
anyone's.
Look for: relu1_2 and relu2_2 give the photo back; at relu3_3 fine colour goes; at relu4_3 places and
outlines stay.
"""

from runner import Setup, run

from jaxstyle.losses import Content
from jaxstyle.runs.manifest import Files
from jaxstyle.weights.store import available


def lanes(setup: Setup):
    weights = setup.weights or ("vgg16" if "vgg16" in available() else None)
    return [setup.lane({"layer": layer}, setup.recipe(
        terms={"content": Content(layers=(layer,), normalization="relative")}, start__noise=1.0),
        Files(content=str(setup.content)), weights=weights)
        for layer in ("relu1_2", "relu2_2", "relu3_3", "relu4_3")]


if __name__ == "__main__":
    run(__doc__, lanes)
