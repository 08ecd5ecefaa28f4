"""Batch against instance norm.

Source: Ulyanov, Vedaldi & Lempitsky 2016; course report ("batch norm keeps the contrast of the content").
Question: which reaches the lower loss, and does batch norm keep each photo's contrast?
Command: python experiments/fast_norms.py --style PAINTING --photos DIR -o runs/fast-norms
Cost: 2 trainings.
Look for: instance norm has the lower loss; with batch norm the contrast of results follows that of photos.
"""

from fast_runner import contrast, main

from jaxstyle import replace


def variants(base):
    return {norm: replace(base, {"architecture.norm": norm}) for norm in ("batch", "instance")}


if __name__ == "__main__":
    raise SystemExit(main(__doc__, variants, {"contrast kept": contrast}))
