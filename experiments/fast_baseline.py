"""The baseline of a fast network: Johnson's network with instance norm.

Source: Johnson, Alahi & Fei-Fei 2016; course report "Deep Style".
Question: how far does the loss fall on photos never seen, and how long does a step take?
Command: python experiments/fast_baseline.py --style PAINTING --photos DIR -o runs/fast-baseline
Cost: 1 training.
Look for: held-out and training loss fall together; the strokes are the painting's.
"""

from fast_runner import main

if __name__ == "__main__":
    raise SystemExit(main(__doc__, lambda base: {"baseline": base}))
