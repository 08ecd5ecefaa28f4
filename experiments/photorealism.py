"""How to keep a photo a photo: the matting term, the smoothing after it, and the screened Poisson equation.

Source: Luan, Paris, Shechtman & Bala 2017 (matting); Mechrez, Shechtman & Zelnik-Manor 2017 (Poisson).
Question: how much of the painting's colour is left when straight lines have to stay straight?
Command: python experiments/photorealism.py --content PHOTO --style PAINTING -o runs/photorealism
Cost: 12 lanes in 6 programs.
Look for: the change of the photo's edges in the report falls with λ, and colours spill less; too large a λ
keeps the photo's own colours as well. Putting gradients back takes a second and no matting, but lets the
painting's broad blotches stand.
"""

from runner import Setup, run

from jaxstyle.transfer.presets import DEFAULT, GRAM, PATCHES, PHOTO


def lanes(setup: Setup):
    def photo(weight, **changes):
        return setup.recipe(200, PHOTO, terms__matting__weight=weight, **changes)

    free = {f"λ {weight:g}": photo(weight, smoothing=None, photo_gradients=None)
            for weight in (0.0, 1e1, 1e2, 1e3, 1e4, 1e5)}
    poisson = {f"gradients {amount}": photo(0.0, smoothing=None, photo_gradients=amount)
               for amount in (0.5, 0.8)}
    recipes = {"Gatys": setup.recipe(200, GRAM), "neighbours": setup.recipe(200, DEFAULT), **free,
               "recipe photo": photo(1e3), **poisson, "patches": setup.recipe(200, PATCHES)}
    return [setup.lane({"how": name}, recipe) for name, recipe in recipes.items()]


if __name__ == "__main__":
    run(__doc__, lanes)
