"""Maps by hand, by machine, or none.

Source: ours (`transfer.automatic_maps`); maps by hand: Champandard 2016 (neural doodle).
Question: how far do clusters of deep features get without anybody drawing?
Command: python experiments/automatic_maps.py --content PHOTO --style PAINTING --content-map MAP
--style-map MAP -o runs/automatic
Cost: 4 lanes in 2 programs.
Look for: automatic maps keep sky with sky and ground with ground nearly as well as drawn ones, but know no
eyes; few labels are coarser, many split what belongs together; without maps colours wander.
"""

from runner import Setup, run

from jaxstyle.runs.maps import write_automatic_maps
from jaxstyle.sweeps.folder import INPUTS
from jaxstyle.transfer.presets import PATCHES
from jaxstyle.weights.store import best_available, load_weights


def automatic(setup: Setup, count: int):
    folder = setup.output / INPUTS
    folder.mkdir(parents=True, exist_ok=True)
    return write_automatic_maps(load_weights(setup.weights or best_available()), setup.files(),
                                [folder / f"{kind}-{count}.png" for kind in ("photo", "painting")],
                                count=count,
                                overwrite=True)


def lanes(setup: Setup):
    recipe = setup.recipe(200, PATCHES, terms__style__anchor=None)  # what maps add, and nothing else
    cases = {"none": setup.files(), "drawn": setup.files(maps=True),
             **{f"{count} labels": automatic(setup, count) for count in (4, 8)}}
    return [setup.lane({"maps": name}, recipe, files) for name, files in cases.items()]


if __name__ == "__main__":
    run(__doc__, lanes)
