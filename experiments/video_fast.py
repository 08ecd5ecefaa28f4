"""A fast network, as it is and held still by the flow.

Source: course report "Deep Style", video with the fast network; Ruder et al. 2016 for the consistent regions.
Question: does a feed-forward network pop less than optimisation frame by frame, and what does a warped blend
add?
Command: python experiments/video_fast.py --clip CLIP --style PAINTING --model MODEL -o runs/video
Cost: two passes of the network over the clip.
Look for: no popping, but shimmer in flat regions, which the blend takes away; no ghosts behind what moves.
"""

from video_runner import Setup, run


def variants(setup: Setup):
    return {"fast network": setup.request(stabilise=0.0), "fast and stabilised": setup.request(stabilise=0.8)}


if __name__ == "__main__":
    run(__doc__, variants)
