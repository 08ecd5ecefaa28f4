"""Starting from noise or from the photo, after 100, 200 and 500 steps.

Source: course report "Deep Style", noise against content start.
Question: does the start matter once the optimiser has had time?
Command: python experiments/content_start.py --content PHOTO --style PAINTING -o runs/start
Cost: 3 lanes of 500 steps in 1 program.
Look for: from the photo, the picture is clean after 100 steps and paints itself over; from noise, speckle
fades late, and the layout is freer. At 500 steps the losses are close.
"""

from runner import Setup, run


def lanes(setup: Setup):
    starts = {"noise": 1.0, "half of each": 0.5, "photo": 0.0}
    return [setup.lane({"start": name}, setup.recipe(500, start__noise=noise))
            for name, noise in starts.items()]


def snapshots(setup: Setup):
    return setup.at(100, 200, 500)[:-1]


if __name__ == "__main__":
    run(__doc__, lanes, snapshots=snapshots)
