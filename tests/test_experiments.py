"""Every experiment: what it plans is what its docstring says, and it runs."""

import importlib
import re
import sys
from pathlib import Path

import pytest
from PIL import Image
from tiny import DEEP, fast_to_compile, write_inputs

from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import random_weights
from jaxstyle.sweeps.batches import Options
from jaxstyle.sweeps.folder import read_json
from jaxstyle.sweeps.runner import grouped, references_by_files
from jaxstyle.weights.store import write_weights

FOLDER = Path(__file__).parent.parent / "experiments"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py")
               if path.stem != "runner" and not path.stem.startswith(("video_", "fast_")))
JOHNSON = VGG(blocks=((4, 4), (4, 4), (4, 4, 4), (4, 4, 4)), border="reflect")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    made = write_inputs(folder)
    write_weights(folder / "deep.safetensors", random_weights(network=DEEP), "vgg19")
    write_weights(folder / "johnson.safetensors", random_weights(network=JOHNSON), "vgg16")
    return {**made, **{name: str(folder / f"{file}.safetensors")
                       for name, file in (("weights", "deep"), ("johnson", "johnson"))}}


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    with fast_to_compile():
        yield


@pytest.fixture
def experiment(request, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module(request.param)


def arguments(inputs, output, maps, weights="weights"):
    given = ["--content-map", inputs["map"], "--style-map", inputs["map2"]] if maps else []
    return [*given, "--content", inputs["photo"], "--style", inputs["painting"], inputs["painting2"],
            "-o", str(output), "--weights", inputs[weights], "--judge", inputs["weights"],
            "--quick", "--size", "32", "--steps", "3"]


@pytest.mark.parametrize("experiment", NAMES, indirect=True)
def test_experiment(experiment, inputs, tmp_path, monkeypatch):
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path / "cache"))
    runner = sys.modules["runner"]
    planned = []

    def few(setup):
        planned.extend(experiment.lanes(setup))
        return planned[-1:]

    out = tmp_path / "run"
    maps = "--content-map" in experiment.__doc__
    snapshots = getattr(experiment, "snapshots", lambda setup: ())
    judge = getattr(experiment, "judge", lambda setup: setup.judge)
    given = arguments(inputs, out, maps, "johnson" if "Johnson's layers" in experiment.__doc__ else "weights")
    assert runner.main(experiment.__doc__, few, snapshots, given, judge) == 0
    with Image.open(out / "lanes" / "0000" / "image.png") as image:
        assert image.width >= 28
    assert read_json(out / "manifest.json")["title"] == experiment.__doc__.splitlines()[0].rstrip(".")
    assert (out / "report.html").exists()
    check_docstring(experiment.__doc__, planned)


def check_docstring(text, planned):
    """The docstring says where the idea is from, and counts lanes and programs rightly."""
    for heading in ("Source:", "Question:", "Command: python experiments/", "Cost:", "Look for:"):
        assert f"\n{heading}" in text
    claimed = re.search(r"Cost: (\d+) lanes?.* (?:in|and) (\d+) programs?", text)
    if "for each" not in text:
        groups = grouped(planned, references_by_files(planned), Options())
        assert (len(planned), len(groups)) == tuple(map(int, claimed.groups()))
    labels = [tuple(lane.labels.items()) for lane in planned]
    assert len(set(labels)) == len(labels)


def test_experiments_are_short():
    for name in NAMES:
        code = (FOLDER / f"{name}.py").read_text().split('"""', 2)[2]
        assert len([line for line in code.splitlines() if line.strip()]) <= 30, name
