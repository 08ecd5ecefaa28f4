"""Every experiment on fast networks trains, measures and writes its table: three steps of a tiny network.

Copying photos, which takes a program of its own, begins with ten steps (see `test_fast_train`).
"""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from fast_tiny import picture, write_photos
from PIL import Image
from tiny import DEEP, fast_to_compile

from jaxstyle.backbones.perceptual import random_weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import save
from jaxstyle.weights.store import write_weights

HOME = Path(__file__).resolve().parents[1] / "experiments"
EXPERIMENTS = {
    "fast_baseline": ["baseline"], "fast_norms": ["batch", "instance"],
    "fast_upsampling": ["transposed", "nearest", "bilinear"],
    "fast_padding": ["reflect", "zero", "replicate"],
    "fast_tradeoff": ["style 3", "style 10", "style 30", "style 100"],
    "fast_losses": ["features", "pixels", "both"], "fast_backbones": ["vgg19-slim"],
}
MEASURED = {"fast_norms": "contrast kept", "fast_upsampling": "lattice", "fast_padding": "border"}


def test_all_are_tried():
    names = {path.stem for path in HOME.glob("fast_*.py")} - {"fast_runner", "fast_vs_optimised"}
    assert names == set(EXPERIMENTS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment(name, tmp_path, monkeypatch, compiled_programs, capsys):
    write_weights(tmp_path / "tiny.safetensors", random_weights(network=DEEP), "vgg19")
    save(tmp_path / "painting.png", picture(50))
    monkeypatch.setenv("JAXSTYLE_CACHE", str(compiled_programs))
    monkeypatch.syspath_prepend(str(HOME))
    monkeypatch.setattr(sys, "argv", [
        name, "--style", str(tmp_path / "painting.png"),
        "--photos", str(write_photos(tmp_path / "photos", 40)),
        "-o", str(tmp_path / "out"), "--weights", str(tmp_path / "tiny.safetensors"), "--steps", "3",
        "--crop", "32", "--width", "2", "--depth", "1"])
    with fast_to_compile(), pytest.raises(SystemExit) as ended:
        runpy.run_path(str(HOME / f"{name}.py"), run_name="__main__")
    assert ended.value.code == 0, capsys.readouterr().err
    rows = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [row["label"] for row in rows] == EXPERIMENTS[name]
    assert all(np.isfinite(row["held-out total"]) for row in rows)
    if name in MEASURED:
        assert all(np.isfinite(row[MEASURED[name]]) for row in rows)
    assert "| label |" in (tmp_path / "out" / "results.md").read_text()
    assert (tmp_path / "out" / "samples.png").is_file()


def test_a_network_is_compared_with_steps(tmp_path, monkeypatch, compiled_programs):
    write_weights(tmp_path / "tiny.safetensors", random_weights(network=DEEP), "vgg19")
    save(tmp_path / "wave.png", picture(50))
    monkeypatch.setenv("JAXSTYLE_CACHE", str(compiled_programs))
    monkeypatch.syspath_prepend(str(HOME))
    monkeypatch.setattr(sys, "argv", [
        "fast_vs_optimised", "--style", str(tmp_path / "wave.png"), "--size", "32", "--style-size", "32",
        "--photos", str(write_photos(tmp_path / "photos", 2)), "-o", str(tmp_path / "out"),
        "--weights", str(tmp_path / "tiny.safetensors"), "--steps", "3"])
    with fast_to_compile():
        runpy.run_path(str(HOME / "fast_vs_optimised.py"), run_name="__main__")
    rows = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [row["photo"] for row in rows] == ["0.png", "1.png"]
    assert all(np.isfinite(row["network"]) and row["curve"]["3"] < row["curve"]["0"] for row in rows)
    with Image.open(tmp_path / "out" / "samples.png") as image:
        assert image.size == (96, 64)


def test_quick_runs_take_the_demos_pictures(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(HOME))
    runner = runpy.run_path(str(HOME / "fast_runner.py"))
    options = runner["made_quick"](runner["Options"](output=tmp_path, quick=True))
    assert (options.steps, options.crop, options.width) == (30, 32, 8)
    found = runner["with_demo"](options, lambda: Image.new("RGB", (40, 30)))
    assert found.style.is_file() and len(list(found.photos.glob("*.png"))) == 48
    with pytest.raises(JaxstyleError, match="give both"):
        runner["with_demo"](runner["Options"](style=found.style), Image.Image)
    assert runner["with_demo"](found, Image.Image) is found
