"""The experiments on video: what they compare, and one that runs."""

import importlib
import json
from pathlib import Path

import pytest
from clips import moving
from PIL import Image
from tiny import fast_to_compile, write_inputs

from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import random_weights
from jaxstyle.images.files import load
from jaxstyle.weights.store import write_weights

FOLDER = Path(__file__).parent.parent / "experiments"
LABELS = {"video_frames": ["frame by frame"], "video_temporal": ["warped start", "temporal", "long term"],
          "video_fast": ["fast network", "fast and stabilised"]}


@pytest.fixture
def clip(tmp_path, monkeypatch):
    """A folder of frames, a painting and a network."""
    monkeypatch.syspath_prepend(str(FOLDER))
    write_inputs(tmp_path)
    (tmp_path / "frames").mkdir()
    for index, image in enumerate(moving(2, 24, 32)):
        Image.fromarray(image).save(tmp_path / f"frames/{index}.png")
    deep = VGG(blocks=((4,), (4,), (4,), (4, 4), (4,)), border="reflect")
    write_weights(tmp_path / "deep.safetensors", random_weights(network=deep), "vgg19")
    return tmp_path


@pytest.mark.parametrize("name", LABELS)
def test_what_is_compared(name, clip):
    runner = importlib.import_module("video_runner")
    experiment = importlib.import_module(name)
    setup = runner.Setup(clip=clip / "frames", style=clip / "painting.png", output=clip / "run",
                         model=str(clip / "model.safetensors"), weights="deep", size=32, quick=True)
    requests = experiment.variants(setup)
    assert list(requests) == LABELS[name]
    for heading in ("Source:", "Question:", f"Command: python experiments/{name}.py", "Cost:", "Look for:"):
        assert f"\n{heading}" in experiment.__doc__
    assert all((request.model is None) == (name != "video_fast") for request in requests.values())


def test_an_experiment_makes_a_report(clip, monkeypatch):
    monkeypatch.setenv("JAXSTYLE_CACHE", str(clip / "cache"))
    runner = importlib.import_module("video_runner")
    experiment = importlib.import_module("video_frames")
    with fast_to_compile():
        given = ["--clip", str(clip / "frames"), "--style", str(clip / "painting.png"),
                 "-o", str(clip / "run"), "--weights", str(clip / "deep.safetensors"),
                 "--quick", "--size", "32"]
        assert runner.main(experiment.__doc__, experiment.variants, given) == 0
    one = json.loads((clip / "run/results.json").read_text())["frame by frame"]
    assert one["frames"] == 2 and 0 < one["flicker"] < 1 and one["style"] > 0 and one["seconds_per_frame"] > 0
    assert load(clip / "run/frame-by-frame-strip.png").shape[0] > 48
    page = (clip / "run/report.html").read_text()
    assert "frame-by-frame-strip.png" in page and f"{one['style']:.4f}" in page
