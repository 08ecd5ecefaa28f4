"""Fewer patches to choose from: the painting cut to two thirds, a half and a third of its sides.

Source: course report on semantic style transfer ("too few patches" in the painting repeat visibly); Li &
Wand 2016, which adds rotated and scaled copies for more of them.
Question: from which size on does a painting run out of patches, and can it be seen?
Command: python experiments/repetition.py --content PHOTO --style PAINTING -o runs/repetition
Cost: 5 lanes, a program for each size of the painting and one for copies.
Look for: "style patches used again" in the report (0: every patch once, as in the painting itself; near 1:
one patch everywhere) rises as the painting shrinks, and the same stroke or spot comes back all over the
picture. Copies of the smallest piece, turned and scaled, vary the strokes; the number, which asks for upright
patches, does not see them.
"""

from runner import Setup, run

from jaxstyle.pytrees import replace
from jaxstyle.transfer.presets import PATCHES

LEAST = 32  # pixels of a piece that relu4_1 still has patches of, scaled down, too


def lanes(setup: Setup):
    painting, whole = setup.painting(), setup.recipe(200, PATCHES)
    stage, found = replace(whole.stages[-1], {"steps": whole.total_steps}), []
    for part, copies in ((1.0, {}), (1.5, {}), (2.0, {}), (3.0, {}), (3.0, {"rotations": 1, "scales": 1})):
        height, width = (max(16, round(side / part)) for side in painting.shape[:2])
        top, left = ((side - piece) // 2 for side, piece in zip(painting.shape, (height, width)))
        files = setup.derived(f"part-{part:g}", painting[top : top + height, left : left + width])
        settings = {f"terms__style__{name}": value for name, value in copies.items()}
        # One stage: in a smaller one the smallest piece would have no patch at all.
        recipe = setup.recipe(200, PATCHES, style_scale=max(1 / part, LEAST / stage.size),
                              stages=(stage,), **settings)
        labels = {"painting": f"{100 / part:.0f} % of its sides", "copies": "9" if copies else "1"}
        found.append(setup.lane(labels, recipe, files))
    return found


if __name__ == "__main__":
    run(__doc__, lanes)
