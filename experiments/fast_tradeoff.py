"""Photo against painting: the weight of the style.

Source: Gatys, Ecker & Bethge 2015, figure 3; course report (alpha/beta trade-off of the fast network).
Question: what does a fast network give up of the photo for more of the painting?
Command: python experiments/fast_tradeoff.py --style PAINTING --photos DIR -o runs/fast-tradeoff
Cost: 4 trainings.
Look for: content loss rises as style loss (divided by its weight) falls.
"""

from fast_runner import main

from jaxstyle import replace


def variants(base):
    return {f"style {weight:g}": replace(base, {"terms.style.weight": weight})
            for weight in (3.0, 10.0, 30.0, 100.0)}


if __name__ == "__main__":
    raise SystemExit(main(__doc__, variants))
