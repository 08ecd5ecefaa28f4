"""The same recipe at three sizes.

Source: recurring questions of users of such programs: weights that change with the size of the image.
Question: is one strength the same strength at 256, 512 and 1024 pixels?
Command: python experiments/size_consistency.py --content PHOTO --style PAINTING -o runs/size-consistency
--size 1024
Cost: 6 lanes in 5 programs; the last takes sixteen times as long as the first.
Look for: distances from photo and painting within 15 percent of each other. With strokes scaled with the
picture it goes on from the small result, so large shapes are the same ones.
"""

from runner import Setup, run

from jaxstyle.transfer.presets import DEFAULT, with_size, with_strokes


def lanes(setup: Setup):
    recipe = setup.recipe(200, DEFAULT)
    largest = setup.pixels() * (2 if setup.quick else 1)  # a quarter of a quick run's size shows nothing
    sizes = [max(24, largest // 4), max(28, largest // 2), largest]  # relu5_1 needs 16 of the shorter side
    small = with_size(recipe, sizes[0])
    ways = {"as the recipe": lambda size: with_size(recipe, size),
            "strokes with the picture": lambda size: with_strokes(small, size, "picture")}
    return [setup.lane({"way": name, "size": str(size)}, way(size))
            for name, way in ways.items() for size in sizes]


if __name__ == "__main__":
    run(__doc__, lanes)
