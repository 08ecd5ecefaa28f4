"""The painting turned by 0, 30, 60 and 90 degrees.

Source: course report "Deep Style", style image rotated.
Question: does the result know which way the strokes ran?
Command: python experiments/style_rotation.py --content PHOTO --style PAINTING -o runs/rotation
Cost: 4 lanes in 1 program. Each turned painting is the square at its middle that has no corners missing.
Look for: strokes turn with the painting: Gram matrices keep orientation, and forget only places.
"""

import math

import numpy as np
from PIL import Image
from runner import Setup, run


def turned(painting: np.ndarray, degrees: float) -> np.ndarray:
    side = int(min(painting.shape[:2]) / math.sqrt(2))
    image = Image.fromarray(np.uint8(painting * 255 + 0.5)).rotate(degrees, Image.Resampling.BICUBIC)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return np.asarray(image.crop((left, top, left + side, top + side)), np.float32) / 255


def lanes(setup: Setup):
    painting = setup.painting()
    return [setup.lane({"painting turned by": f"{degrees}°"}, setup.recipe(),
                       setup.derived(f"style-{degrees:02d}", turned(painting, degrees)))
            for degrees in (0, 30, 60, 90)]


if __name__ == "__main__":
    run(__doc__, lanes)
