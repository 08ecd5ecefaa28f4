"""A video frame by frame: the popping, in numbers.

Source: course report "Deep Style", video frame by frame.
Question: how much do neighbouring frames differ when each is painted on its own?
Command: python experiments/video_frames.py --clip CLIP --style PAINTING -o runs/video
Cost: one run of the recipe `gram` for each frame.
Look for: strokes that jump from frame to frame although the photo hardly moves; compare with video_temporal
and video_fast in the same folder.
"""

from video_runner import Setup, run


def variants(setup: Setup):
    return {"frame by frame": setup.request("frame-by-frame")}


if __name__ == "__main__":
    run(__doc__, variants)
