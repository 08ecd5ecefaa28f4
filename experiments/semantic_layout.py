"""A new layout: the picture stays and only the map changes; and a painting laid out anew without any photo.

Source: Champandard 2016 (neural doodle), doodles; second experiment of the course report on semantic style
transfer (its third group: the content image stays and only the map changes).
Question: how much of the layout comes from the photo, and how much from the map?
Command: python experiments/semantic_layout.py --content PHOTO --style PAINTING --content-map MAP
--style-map MAP -o runs/layout
Cost: 4 lanes in 2 programs.
Look for: with the photo its outlines stay whatever the map says, and a turned or mirrored map only exchanges
the textures within them; without it the map alone decides where sky, rock and water are.
"""

from runner import Setup, run

import jaxstyle as js
from jaxstyle.pytrees import replace
from jaxstyle.runs.manifest import Files
from jaxstyle.sweeps.folder import INPUTS
from jaxstyle.transfer.presets import DOODLE, PATCHES


def mirrored(setup: Setup):
    path = setup.output / INPUTS / "mirrored.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    js.save(path, js.load(setup.content_map)[:, ::-1])
    return str(path)


def lanes(setup: Setup):
    files = setup.files(maps=True)
    turned = replace(files, {"content_map": mirrored(setup)})
    alone = [Files(styles=f.styles, content_map=f.content_map, style_maps=f.style_maps)
             for f in (files, turned)]
    cases = [(PATCHES, "photo", files), (PATCHES, "photo", turned), (DOODLE, "none", alone[0]),
             (DOODLE, "none", alone[1])]
    return [setup.lane({"content": content, "map": "mirrored" if i % 2 else "its own"},
                       setup.recipe(200, recipe),
                       given) for i, (recipe, content, given) in enumerate(cases)]


if __name__ == "__main__":
    run(__doc__, lanes)
