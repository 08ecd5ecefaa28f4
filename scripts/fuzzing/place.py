"""A folder with a little of everything that is read back."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from functools import cache
from pathlib import Path
from typing import Any

import av
import h5py
import jax
import jax.numpy as jnp
import numpy as np

from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import random_weights
from jaxstyle.fast.card import Card
from jaxstyle.fast.model import Model, write_model
from jaxstyle.fast.network import StyleNetwork
from jaxstyle.images.files import save
from jaxstyle.losses import Content, Gram
from jaxstyle.runs.manifest import Files, manifest
from jaxstyle.sweeps.folder import FINISHED, History, fingerprint, lane_folder, write_plan, write_result
from jaxstyle.sweeps.plan import Lane
from jaxstyle.transfer.recipe import Recipe, Stage
from jaxstyle.weights.store import read_weights, write_weights

GIVEN = ("photo.png", "painting.png", "tiny.safetensors", "net.npz", "net.h5", "model.safetensors",
         "clip.mp4", "map.png")
RECIPE = Recipe(
    terms={"content": Content(layers=("relu2_1",)),
           "style": Gram(layers=("relu1_1", "relu2_1"), layer_weights=(0.5, 0.5))},
    stages=(Stage(size=16, steps=2),),
)


class Place:
    """The folder, and the manifest of a picture in it. What it holds is made once in `home`, and copied."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.record = folder, first(home)
        shutil.copytree(home, folder, dirs_exist_ok=True)
        os.mkfifo(folder / "fifo.png")
        listener = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError):
            listener.bind(str(folder / "socket.png"))


@cache
def first(home: Path) -> dict[str, Any]:
    """Fills a folder; gives the manifest of a picture that could lie there."""
    rng = np.random.default_rng(0)
    write_weights(home / "tiny.safetensors", random_weights(network=VGG(blocks=((4,), (8,)),
                                                                        border="reflect")), "vgg19")
    weights = read_weights(home / "tiny.safetensors", str(home / "tiny.safetensors"))
    for name in ("photo.png", "painting.png"):
        save(home / name, rng.random((12, 16, 3), np.float32))
    save(home / "map.png", np.eye(3, dtype=np.float32)[rng.integers(0, 3, (12, 16))])
    np.savez(home / "net.npz", **{"conv1_1/weight": rng.random((3, 3, 3, 4)), "conv1_1/bias": rng.random(4)})
    with h5py.File(home / "net.h5", "w") as file:
        file["block1_conv1/kernel:0"] = rng.random((3, 3, 3, 4))
        file["block1_conv1/bias:0"] = rng.random(4)
    make_model(home)
    make_clip(home / "clip.mp4", rng)
    files = Files(content=str(home / "photo.png"), styles=(str(home / "painting.png"),))
    make_sweep(home / "sweep", files, weights)
    return manifest(RECIPE, files, weights, beside=home, keep_alpha=False)


def make_model(home: Path) -> None:
    """A fast network of two styles, as a file and as a folder."""
    network = StyleNetwork(styles=2, width=2, depth=1)
    params = network.init(jax.random.key(0), jnp.zeros((16, 16, 3)))["params"]
    model = Model(network, params, {}, Card(name="tiny", styles=("wave", "starry")))
    write_model(home / "model.safetensors", model)
    write_model(home / "model", model)


def make_clip(path: Path, rng: np.random.Generator) -> None:
    """Four frames of noise."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=8)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        for _ in range(4):
            image = rng.integers(0, 255, (32, 48, 3), np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode())


def make_sweep(folder: Path, files: Files, weights: Any) -> None:
    """A finished sweep of two lanes."""
    lanes = [Lane({"seed": str(i)}, RECIPE, files, weights.name) for i in range(2)]
    records = [manifest(RECIPE, files, weights, beside=lane_folder(folder, i), labels={"seed": str(i)})
               for i in range(2)]
    write_plan(folder, lanes, records, "a title")
    for i, record in enumerate(records):
        where = lane_folder(folder, i)
        where.mkdir(parents=True)
        history = History()
        history.add([0, 1, 2], [0.1, 0.2, 0.3], {"total": [3, 2, 1]})
        ended = {**record, "status": FINISHED, "fingerprint": fingerprint(record), "loss": 1.0,
                 "distances": {"content": 0.1, "style": 0.2}, "steps": 2, "seconds": 0.3}
        write_result(where, ended, np.full((12, 16, 3), 0.5, np.float32), history)
