"""Whose colours: the painting's, the photo's kept, or the painting matched to the photo first.

Source: Gatys, Bethge, Hertzmann & Shechtman 2016, "Preserving Color in Neural Artistic Style Transfer".
Question: which way keeps the photo's colours, and what does it cost in style?
Command: python experiments/color_control.py --content PHOTO --style PAINTING -o runs/color-control
Cost: 7 lanes in 7 programs.
Look for: lightness alone keeps every colour where it was and can lose strokes that differ in hue only;
matching keeps the palette as a whole and lets the painting mix it, PCA and Monge–Kantorovich with fewer false
hues than Cholesky, which treats red, green and blue unequally.
"""

from runner import Setup, run

from jaxstyle.transfer.controls import KeepColors, MatchColors
from jaxstyle.transfer.presets import DEFAULT

CHOICES = {
    "painting": None, "keep (OKLab)": KeepColors(), "keep (YIQ)": KeepColors(space="yiq"),
    "keep (OKLab), same spread": KeepColors(spread=True), "match (Cholesky)": MatchColors(method="cholesky"),
    "match (PCA)": MatchColors(method="pca"), "match (Monge–Kantorovich)": MatchColors(),
}


def lanes(setup: Setup):
    return [setup.lane({"colours": name}, setup.recipe(200, DEFAULT, colors=colors))
            for name, colors in CHOICES.items()]


if __name__ == "__main__":
    run(__doc__, lanes)
