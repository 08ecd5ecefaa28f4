"""Perceptual against per-pixel loss of the content.

Source: Johnson, Alahi & Fei-Fei 2016, section 3.2.
Question: what does comparing pixels instead of features do to the picture?
Command: python experiments/fast_losses.py --style PAINTING --photos DIR -o runs/fast-losses
Cost: 3 trainings.
Look for: pixels keep the photo's colours and blur; features keep its shapes.
"""

from fast_runner import main

from jaxstyle import replace
from jaxstyle.losses import Pixel


def variants(base):
    style = {name: term for name, term in base.terms.items() if name != "content"}
    return {"features": base,
            "pixels": replace(base, {"terms": {**style, "pixel": Pixel(weight=30.0)}}),
            "both": replace(base, {"terms": {**base.terms, "pixel": Pixel(weight=10.0)}})}


if __name__ == "__main__":
    raise SystemExit(main(__doc__, variants))
