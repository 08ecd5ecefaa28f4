"""Portraits both ways: a photo as the painting, and the painting as a photo.

Source: Champandard 2016 (neural doodle), van Gogh's portrait and a photo; Li & Wand 2016 (CNNMRF) without
maps; first experiment of the course report on semantic style transfer.
Question: what do maps add where two pictures show the same kind of thing, and does it work backwards?
Command: python experiments/semantic_portrait.py --content PHOTO --style PORTRAIT --content-map MAP
--style-map MAP -o runs/portrait
Cost: 4 lanes in 2 programs (four, if the pictures differ in shape).
Look for: with maps beard comes from beard and cloth from cloth, and eyes stay eyes; without, strokes of the
background run into the face. Backwards the painted sitter gets skin and hair of the photo, but keeps the
pose.
"""

from runner import Setup, run

from jaxstyle.runs.manifest import Files
from jaxstyle.transfer.presets import PATCHES


def lanes(setup: Setup):
    there = setup.files(maps=True)
    back = Files(content=there.styles[0], styles=(there.content,), content_map=there.style_maps[0],
                 style_maps=(there.content_map,))
    recipe = setup.recipe(200, PATCHES, terms__style__anchor=None)  # what maps add, and nothing else
    return [setup.lane({"direction": name, "maps": "with" if files.content_map else "without"}, recipe, files)
            for name, both in (("photo as painting", there), ("painting as photo", back))
            for files in (both, Files(content=both.content, styles=both.styles))]


if __name__ == "__main__":
    run(__doc__, lanes)
