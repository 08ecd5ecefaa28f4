"""Transposed convolution against enlargement before a convolution.

Source: Odena, Dumoulin & Olah 2016 ("Deconvolution and checkerboard artifacts").
Question: how strong is the lattice of two and four pixels in the spectrum of results?
Command: python experiments/fast_upsampling.py --style PAINTING --photos DIR -o runs/fast-upsampling
Cost: 3 trainings.
Look for: "lattice" near 1 with nearest and bilinear enlargement, above it with transposed convolution.
"""

from fast_runner import checkerboard, main

from jaxstyle import replace


def variants(base):
    return {kind: replace(base, {"architecture.upsample": kind})
            for kind in ("transposed", "nearest", "bilinear")}


if __name__ == "__main__":
    raise SystemExit(main(__doc__, variants, {"lattice": checkerboard}))
