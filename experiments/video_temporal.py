"""The temporal term, short and long term, against nothing but a warped start.

Source: Ruder, Dosovitskiy & Brox 2016, "Artistic style transfer for videos", sections 4.1 and 4.2.
Question: how much of the stillness comes from the start, how much from the term, and does looking back
further help?
Command: python experiments/video_temporal.py --clip CLIP --style PAINTING -o runs/video
Cost: three videos of 30 steps a frame.
Look for: the warped start alone drifts; with the term strokes stick to what they are painted on; the long
term brings back what was hidden for a frame or two.
"""

from video_runner import Setup, run

from jaxstyle.pytrees import replace
from jaxstyle.video.recipe import QUICK


def variants(setup: Setup):
    return {"warped start": setup.request(replace(QUICK, {"following.terms.temporal.weight": 0.0})),
            "temporal": setup.request("quick"), "long term": setup.request("long-term")}


if __name__ == "__main__":
    run(__doc__, variants)
