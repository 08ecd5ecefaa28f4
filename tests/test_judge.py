"""One network that measures the results of all: what is recorded, shown and refused."""

import dataclasses
import importlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import fast_to_compile, tiny_recipe, write_inputs

from jaxstyle import JaxstyleError, replace
from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import random_weights
from jaxstyle.cli.main import main
from jaxstyle.metrics.distances import judge_called, measured
from jaxstyle.report.data import read_sweep
from jaxstyle.report.page import page
from jaxstyle.report.plots import scatter
from jaxstyle.runs.manifest import Files, identity, load_references
from jaxstyle.sweeps.batches import Options
from jaxstyle.sweeps.folder import read_json
from jaxstyle.sweeps.plan import Lane
from jaxstyle.sweeps.runner import run_sweep
from jaxstyle.weights.store import load_weights, write_weights

EXPERIMENTS = Path(__file__).parent.parent / "experiments"


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    with fast_to_compile():
        yield


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Two small networks, and two with the paper's layers that can judge."""
    folder = tmp_path_factory.mktemp("inputs")
    made = write_inputs(folder)
    write_weights(folder / "other.safetensors", random_weights(3, VGG(blocks=((4,), (8,)))), "vgg19")
    deep = VGG(blocks=((4,), (4,), (4,), (4, 4), (4,)), border="reflect")
    for seed, name in enumerate(("judge", "second")):
        write_weights(folder / f"{name}.safetensors", random_weights(seed, deep), "vgg19")
    names = ("other", "judge", "second")
    return {**made, **{name: str(folder / f"{name}.safetensors") for name in names}}


@pytest.fixture
def lanes(inputs):
    """The same recipe through two networks."""
    files = Files(content=inputs["photo"], styles=(inputs["painting"],))
    recipe = replace(tiny_recipe(2), {"start.noise": 0.5})
    return [Lane({"network": name}, recipe, files, inputs[name]) for name in ("weights", "other")]


def run(directory, lanes, judge):
    return list(run_sweep(directory, lanes, options=Options(judge=judge)))


def records_of(directory):
    return [read_json(path) for path in sorted(directory.glob("lanes/*/manifest.json"))]


def test_one_network_measures_all_lanes(inputs, lanes, tmp_path):
    run(tmp_path / "run", lanes, inputs["judge"])
    judge, references = load_weights(inputs["judge"]), load_references(lanes[0].files)
    for i, record in enumerate(records_of(tmp_path / "run")):
        folder = tmp_path / "run" / "lanes" / f"000{i}"
        assert record["judge"] == identity(judge, folder) != record["weights"]
        with Image.open(folder / "image.png") as image:
            pixels = np.asarray(image, np.float32) / 255
        assert record["distances"] == pytest.approx(
            measured(judge, references, lanes[i].recipe, pixels), rel=0.02)
    sweep = read_sweep(tmp_path / "run")
    assert sweep.measured_by() == "Measured by judge."
    assert len(sweep.front()[0]) >= 1
    assert "Measured by judge." in page(sweep)
    assert scatter(sweep).axes[0].get_title() == "Measured by judge."


def test_without_a_judge_each_network_measures_its_own(inputs, lanes, tmp_path):
    run(tmp_path / "run", lanes, None)
    assert all(record["judge"] == record["weights"] for record in records_of(tmp_path / "run"))
    sweep = read_sweep(tmp_path / "run")
    assert "several networks (other, tiny)" in sweep.measured_by()
    assert sweep.front() == ([], None)  # nothing was measured alike
    assert "cannot be compared" in scatter(sweep).axes[0].get_title().replace("\n", " ")
    run(tmp_path / "one", lanes[:1], None)
    assert read_sweep(tmp_path / "one").measured_by() == "Measured by tiny."


def test_a_finished_lane_is_finished_whoever_judges(inputs, lanes, tmp_path):
    run(tmp_path / "run", lanes, inputs["judge"])
    before = records_of(tmp_path / "run")
    assert run(tmp_path / "run", lanes, inputs["second"]) == []
    assert run(tmp_path / "run", lanes, None) == []
    assert records_of(tmp_path / "run") == before


def test_who_cannot_judge(inputs, lanes, tmp_path):
    with pytest.raises(JaxstyleError, match="cannot judge other networks: it has no layer relu4_2"):
        run(tmp_path / "run", lanes, inputs["weights"])
    assert not (tmp_path / "run").exists()
    assert judge_called("random").name == "random"


def test_command_line(inputs, tmp_path, monkeypatch, compiled_programs, capfd):
    monkeypatch.setenv("JAXSTYLE_CACHE", str(compiled_programs))
    call = ["sweep", inputs["photo"], inputs["painting"], "-o", str(tmp_path / "run"), "--weights",
            inputs["weights"], "--recipe", "gatys-2015", "--terms.content.layers", "relu2_1",
            "--terms.style.layers", "relu1_1,relu2_1",
            "--terms.style.layer_weights", "0.5,0.5", "--size", "24", "--steps", "2"]
    assert main([*call, "--judge", inputs["judge"]]) == 0
    assert Path(records_of(tmp_path / "run")[0]["judge"]["name"]).name == Path(inputs["judge"]).name
    assert main([*call, "--judge", "nobody"]) == 2
    assert "no weights called 'nobody'" in capfd.readouterr().err.replace("\n", " ")


def test_networks_are_compared_by_the_best_one(inputs, tmp_path, monkeypatch):
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    experiment, runner = (importlib.import_module(name) for name in ("feature_extractors", "runner"))
    setup = runner.Setup(Path(inputs["photo"]), (Path(inputs["painting"]),), tmp_path / "run")
    assert experiment.judge(setup) == "vgg19-slim"
    assert experiment.judge(dataclasses.replace(setup, judge="random")) == "random"
