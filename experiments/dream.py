"""Deep dream: a layer excited, alone and together with a painting's style.

Source: Mordvintsev, Olah & Tyka 2015; course report "Deep Style", future work.
Question: what does each layer dream of, and do dream and style go together?
Command: python experiments/dream.py --content PHOTO --style PAINTING -o runs/dream
Cost: 7 lanes in 5 programs.
Look for: shallow layers make strokes and grain, deep ones shapes; with a painting the shapes are painted. The
bundled network is a small imitation that never learnt to tell objects apart, so it dreams patterns, not dogs.
"""

from runner import Setup, run

from jaxstyle.transfer.presets import DREAM, DREAM_STYLE


def lanes(setup: Setup):
    alone = {layer: setup.recipe(120, DREAM, terms__dream__layers=(layer,))
             for layer in ("relu2_1", "relu3_1", "relu4_1", "relu5_1")}
    styled = {f"relu4_2 × {weight:g} and style": setup.recipe(120, DREAM_STYLE, terms__dream__weight=weight)
              for weight in (0.1, 1.0, 10.0)}
    return [setup.lane({"dream": name}, recipe) for name, recipe in (alone | styled).items()]


if __name__ == "__main__":
    run(__doc__, lanes)
