"""Many trainings as lanes of one program: each is what it is alone, and interruptions change nothing."""

import itertools
import json

import numpy as np
import pytest
from fast_tiny import RECIPE, picture, write_photos
from tiny import fast_to_compile, tiny_weights

from jaxstyle.cli.main import main
from jaxstyle.errors import JaxstyleError
from jaxstyle.fast.model import read_model
from jaxstyle.images.files import save
from jaxstyle.pytrees import get
from jaxstyle.report.data import read_sweep
from jaxstyle.sweeps.trainings import Ingredients, equal_structures, run_trainings, training_lanes
from jaxstyle.weights.store import write_weights


@pytest.fixture(scope="module", autouse=True)
def quick():
    with fast_to_compile():
        yield


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    save(folder / "waves.png", picture(50))
    save(folder / "dots.png", picture(51))
    return Ingredients((folder / "waves.png", folder / "dots.png"), write_photos(folder / "photos"),
                       tiny_weights(), save_every=10)


def stop_after(steps):
    """What says stop when it was asked so often, which is after every step."""
    asked = itertools.count(1)
    return lambda: next(asked) >= steps


def test_lanes_are_crossings_and_share_programs_by_structure():
    lanes = training_lanes(RECIPE, ["terms.style.weight=1,2", "architecture.width=2,4"])
    assert [dict(lane.labels) for lane in lanes] == [
        {"style.weight": weight, "architecture.width": width} for weight in "12" for width in "24"]
    assert equal_structures(lanes) == [(0, 2), (1, 3)]
    assert get(lanes[3].recipe, "terms.style.weight") == 2.0
    for wrong, said in (("recipe=a,b", "settings of its recipe"), ("terms.style.wait=1", "wait"),
                        ("seed", "PATH=")):
        with pytest.raises(JaxstyleError, match=said):
            training_lanes(RECIPE, [wrong])
    with pytest.raises(JaxstyleError, match="varied twice"):
        training_lanes(RECIPE, ["seed=1", "seed=2"])


def test_a_lane_is_the_training_alone_and_the_report_shows_it(tmp_path, given):
    lanes = training_lanes(RECIPE, ["terms.style.weight=5,50"])
    reports = list(run_trainings(tmp_path / "runs", lanes, given))
    assert [report.report.step for report in reports] == [10, 20, 30, 40]
    found = read_sweep(tmp_path / "runs")
    assert [lane.status for lane in found.lanes] == ["finished", "finished"]
    assert all(lane.image is not None and len(lane.metrics) == 4 for lane in found.lanes)
    assert all(0 < lane.distance("style") < 2 for lane in found.lanes)
    alone = run_trainings(tmp_path / "alone", lanes[1:], given)
    assert len(list(alone)) == 4
    one, other = (read_model(tmp_path / place) for place in ("runs/lanes/0001", "alone/lanes/0000"))
    np.testing.assert_allclose(one.params["r1a"]["kernel"], other.params["r1a"]["kernel"], atol=2e-4)
    held = one.card.losses["held_out"]["total"]
    assert held == pytest.approx(other.card.losses["held_out"]["total"], rel=1e-3)
    assert read_model(tmp_path / "runs/lanes/0000").card.losses != one.card.losses


def test_stopping_and_going_on_changes_no_bit(tmp_path, given):
    lanes = training_lanes(RECIPE, ["seed=0,1"])
    list(run_trainings(tmp_path / "whole", lanes, given))
    for _ in range(2):
        assert len(list(run_trainings(tmp_path / "parts", lanes, given, stop_after(15)))) == 2
    assert not list((tmp_path / "parts" / "lanes").glob("*/card.json"))
    list(run_trainings(tmp_path / "parts", lanes, given))
    for lane in ("0000", "0001"):
        whole, parts = (read_model(tmp_path / name / "lanes" / lane) for name in ("whole", "parts"))
        for layer, values in whole.params.items():
            for name, value in values.items():
                np.testing.assert_array_equal(value, parts.params[layer][name])
    assert list(run_trainings(tmp_path / "parts", lanes, given)) == []


def test_a_lane_that_diverges_does_not_stop_the_others(tmp_path, given):
    lanes = training_lanes(RECIPE, ["learning_rate=1e-2,1e38"])
    notes = [each.report.note for each in run_trainings(tmp_path, lanes, given) if each.report.note]
    assert len(notes) == 5
    assert "of lanes 1 was not finite" in notes[0]
    assert [lane.status for lane in read_sweep(tmp_path).lanes] == ["finished", "failed"]


def test_command(tmp_path, given, capsys):
    weights = tmp_path / "tiny.safetensors"
    write_weights(weights, tiny_weights(), "vgg19")
    layers = ["--terms.content.layers", "relu2_1", "--terms.content.layer_weights", "1",
              "--terms.style.layers", "relu1_1,relu2_1", "--terms.style.layer_weights", "0.5,0.5"]
    command = ["train", *map(str, given.paintings), "--photos", str(given.photos), *layers,
               "-o", str(tmp_path / "runs"), "--weights", str(weights), "--vary", "learning_rate=1e-3,1e-2",
               "--steps", "10", "--batch", "2", "--crop", "16", "--style-size", "16",
               "--architecture.width", "2", "--architecture.depth", "1"]
    assert main(command) == 0
    assert "report.html" in capsys.readouterr().err
    page = (tmp_path / "runs" / "report.html").read_text()
    assert "learning_rate" in page
    manifest = json.loads((tmp_path / "runs" / "lanes" / "0001" / "manifest.json").read_text())
    assert manifest["recipe"]["learning_rate"] == 1e-2
    assert main([*command, "--add-to", "x"]) == 2
    assert "leave --add-to" in capsys.readouterr().err
