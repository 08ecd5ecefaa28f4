"""Two paintings in two halves of the photo, and swapped.

Source: Gatys, Ecker, Bethge, Hertzmann & Shechtman 2017, "Controlling Perceptual Factors in Neural Style
Transfer", section 4.
Question: does each half look as it would with its painting alone, and is the border clean?
Command: python experiments/regions.py --content PHOTO --style PAINTING OTHER -o runs/regions
Cost: 5 lanes in 3 programs.
Look for: swapping the masks swaps the styles; where only one half has a painting, the other is the photo.
"""

import numpy as np
from runner import INPUTS, Setup, run

from jaxstyle import load, save
from jaxstyle.runs.manifest import Files
from jaxstyle.transfer.controls import by_region
from jaxstyle.transfer.presets import DEFAULT


def halves(setup: Setup) -> tuple[str, str]:
    left = np.zeros(load(setup.content).shape, np.float32)
    left[:, : left.shape[1] // 2] = 1
    (folder := setup.output / INPUTS).mkdir(parents=True, exist_ok=True)
    for name, mask in (("left", left), ("right", 1 - left)):
        save(folder / f"{name}.png", mask)
    return str(folder / "left.png"), str(folder / "right.png")


def lanes(setup: Setup):
    recipe, (left, right) = setup.recipe(200, DEFAULT), halves(setup)
    one, two = setup.files(styles=2).styles
    chosen = {"both": ((one, two), (left, right)), "swapped": ((one, two), (right, left)),
              "left half only": ((one,), (left,)), "first alone": ((one,), ()), "second alone": ((two,), ())}
    return [setup.lane({"regions": name}, by_region(recipe) if masks else recipe,
                       Files(content=str(setup.content), styles=styles, regions=masks))
            for name, (styles, masks) in chosen.items()]


if __name__ == "__main__":
    run(__doc__, lanes)
