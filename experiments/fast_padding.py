"""How images go on outside: reflection, zeros, replication.

Source: Johnson, Alahi & Fei-Fei 2016 (supplement); Dumoulin, Shlens & Kudlur 2017 (mirror padding).
Question: do borders show?
Command: python experiments/fast_padding.py --style PAINTING --photos DIR -o runs/fast-padding
Cost: 3 trainings.
Look for: a frame in the results with zeros, none with reflection; "border" is how much brighter or darker the
outer eight pixels are changed than the rest.
"""

from fast_runner import main

from jaxstyle import replace


def variants(base):
    return {kind: replace(base, {"architecture.padding": kind}) for kind in ("reflect", "zero", "replicate")}


def border(photos, results):
    change = abs(results - photos).mean((0, 3))
    inside = change[8:-8, 8:-8].mean()
    outside = (change.sum() - change[8:-8, 8:-8].sum()) / (change.size - change[8:-8, 8:-8].size)
    return float(outside / inside)


if __name__ == "__main__":
    raise SystemExit(main(__doc__, variants, {"border": border}))
