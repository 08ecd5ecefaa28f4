"""A network and pictures small enough for tests of whole runs."""

import os
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstyle import Recipe, References, Stage, save
from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import Weights, random_weights
from jaxstyle.losses import Content, Gram
from jaxstyle.solvers import ArmijoLbfgs
from jaxstyle.weights.store import write_weights

BLOCKS = ((4,), (8,))
DEEP = VGG(blocks=((4,), (4,), (4,), (4, 4), (4,)), border="reflect")
"""The smallest network with the layers of the usual recipes."""


@contextmanager
def fast_to_compile():
    """Plain operations and few optimisations, where programs run for a moment only."""
    before = os.environ.get("JAXSTYLE_OPS"), jax.config.read("jax_disable_most_optimizations")
    os.environ["JAXSTYLE_OPS"] = "reference"
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before[1])
        if before[0] is None:
            del os.environ["JAXSTYLE_OPS"]
        else:
            os.environ["JAXSTYLE_OPS"] = before[0]


def reads_damage(test):
    """Marks a test that reads a damaged state: Orbax reads many arrays at once, and where one cannot be read,
    the others' ends find nobody to tell."""
    return pytest.mark.filterwarnings(
        "ignore:Exception ignored in. None:pytest.PytestUnraisableExceptionWarning")(test)


def damage(folder: Path) -> None:
    """Flip a bit in every state of a folder of checkpoints."""
    for step in (path for path in folder.iterdir() if path.name.isdigit()):
        data = max((path for path in (step / "state").rglob("*") if path.is_file()),
                   key=lambda path: path.stat().st_size)
        content = bytearray(data.read_bytes())
        content[len(content) // 2] ^= 1
        data.write_bytes(content)


def tiny_weights() -> Weights:
    return random_weights(network=VGG(blocks=BLOCKS, border="reflect"))


def tiny_recipe(steps: int = 6, sizes: tuple[int, ...] = (24,), **fields) -> Recipe:
    terms = {
        "content": Content(weight=1.0, layers=("relu2_1",)),
        "style": Gram(weight=10.0, layers=("relu1_1", "relu2_1"), layer_weights=(0.5, 0.5)),
    }
    stages = tuple(Stage(size=size, steps=steps) for size in sizes)
    return Recipe(**{"terms": terms, "solver": ArmijoLbfgs(history=4), "stages": stages, **fields})


def tiny_references(seed: int = 0, dtype=np.float32) -> References:
    rng = np.random.default_rng(seed)
    return References(content=jnp.asarray(rng.random((24, 32, 3)), dtype),
                      styles=(jnp.asarray(rng.random((32, 28, 3)), dtype),))


def in_float64(weights: Weights) -> Weights:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), weights)


def write_inputs(folder: Path) -> dict[str, str]:
    """Weights, two photos and two paintings as files."""
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder / "tiny.safetensors", tiny_weights(), "vgg19")
    made = {"weights": str(folder / "tiny.safetensors")}
    for seed, name in enumerate(("photo", "photo2", "painting", "painting2")):
        rng = np.random.default_rng(seed)
        coarse = rng.random((6, 8, 3), np.float32)
        save(folder / f"{name}.png", np.kron(coarse, np.ones((4, 4, 1), np.float32)))
        made[name] = str(folder / f"{name}.png")
    for name, order in (("map", (0, 1)), ("map2", (1, 0))):
        sides = np.zeros((24, 32, 3), np.float32)
        sides[:, :16, order[0]], sides[:, 16:, order[1]] = 1, 1
        save(folder / f"{name}.png", sides)
        made[name] = str(folder / f"{name}.png")
    return made
