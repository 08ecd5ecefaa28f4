"""A training small enough for tests, and a script that runs it in its own process: FOLDER STYLES STEPS."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from tiny import fast_to_compile, tiny_weights

from jaxstyle.fast.card import Card
from jaxstyle.fast.training.data import gathered
from jaxstyle.fast.training.folder import Bookkeeping, begin, run
from jaxstyle.fast.training.loop import make_task
from jaxstyle.fast.training.recipe import Architecture, Training
from jaxstyle.images.files import save
from jaxstyle.losses import Content, Gram, TotalVariation
from jaxstyle.pytrees import replace

RECIPE = Training(
    terms={"content": Content(weight=1.0, layers=("relu2_1",), normalization="relative"),
           "style": Gram(weight=5.0, layers=("relu1_1", "relu2_1"), layer_weights=(0.5, 0.5),
                         normalization="relative"),
           "tv": TotalVariation(weight=0.1)},
    architecture=Architecture(width=2, depth=1), learning_rate=1e-2, steps=40, batch=2, crop=16,
    style_size=16,
)


def picture(seed, height=24, width=32):
    """Coarse random blocks, `[height, width, 3]`."""
    rng = np.random.default_rng(seed)
    return np.kron(rng.random((height // 4, width // 4, 3), np.float32), np.ones((4, 4, 1), np.float32))


def write_photos(folder: Path, count: int = 6) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        if not (folder / f"{i}.png").exists():
            save(folder / f"{i}.png", picture(i))
    return folder


def trained(folder: Path, photos: Path, styles: int = 2, stop=lambda progress: False, start=None, **fields):
    """Trains in a folder, on from where it is; the last report's state."""
    recipe = replace(RECIPE, fields)
    card = Card(name="tiny", styles=tuple(f"style{i}" for i in range(styles)))
    task = make_task(recipe, tiny_weights(), [picture(100 + i) for i in range(styles)])
    found = gathered(photos, size=recipe.crop, batch=recipe.batch, seed=0, least_scale=recipe.least_scale)
    books = Bookkeeping(card=card, identity={"photos": found.sha256}, held_out=found.held_out, save_every=10,
                        sample_every=20, start=start)
    begin(folder, recipe, books, resume=True)
    asked = []
    state = None
    for progress in run(folder, recipe, task, found.photos, books, lambda: bool(asked)):
        state = progress.report.state
        if stop(progress):
            asked.append(1)
    found.photos.close()
    return task, state


if __name__ == "__main__":
    with fast_to_compile():
        home = Path(sys.argv[1])
        trained(home / "run", home / "photos", int(sys.argv[2]), steps=int(sys.argv[3]))
