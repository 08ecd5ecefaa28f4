"""Many trainings as lanes of one program: each is what it is alone, and interruptions change nothing."""

import itertools
import json

import jax
import numpy as np
import pytest
from fast_tiny import RECIPE, picture, write_photos
from tiny import fast_to_compile, in_float64, tiny_weights

from jaxstyle.cli.main import main
from jaxstyle.errors import JaxstyleError
from jaxstyle.fast.model import read_model
from jaxstyle.fast.training.loop import make_task, train_iter
from jaxstyle.fast.training.train import first_state
from jaxstyle.images.files import save
from jaxstyle.pytrees import get, replace, stack, unstack
from jaxstyle.report.data import read_sweep
from jaxstyle.sweeps.trainings import Ingredients, equal_structures, run_trainings, training_lanes
from jaxstyle.weights.store import write_weights

BRIEF = replace(RECIPE, {"steps": 20})


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


@pytest.fixture(scope="module")
def whole(tmp_path_factory, given):
    """Two trainings that nothing interrupted, their reports, and what they were."""
    lanes = training_lanes(BRIEF, ["terms.style.weight=5,50"])
    folder = tmp_path_factory.mktemp("whole")
    return folder, list(run_trainings(folder, lanes, given)), lanes


def test_the_report_shows_each_lane_as_the_training_alone(tmp_path, given, whole):
    folder, reports, lanes = whole
    assert [report.report.step for report in reports] == [10, 20]
    found = read_sweep(folder)
    assert [lane.status for lane in found.lanes] == ["finished", "finished"]
    assert all(lane.image is not None and len(lane.metrics) == 2 for lane in found.lanes)
    assert all(0 < lane.distance("style") < 2 for lane in found.lanes)
    early, _ = (report.report.losses for report in run_trainings(tmp_path, lanes[1:], given))
    for name, values in reports[0].report.losses.items():
        assert values[1] == pytest.approx(early[name][0], rel=1e-4), name
    first, second, alone = (read_model(place).card.losses["held_out"]["total"] for place in (
        folder / "lanes/0000", folder / "lanes/0001", tmp_path / "lanes/0000"))
    assert second == pytest.approx(alone, rel=0.05) and first < 0.5 * second


def test_a_lane_is_the_training_alone(x64):
    """In double precision: a gradient that is rounding alone, such as that of an offset which the next norm
    takes out again, makes Adam take whole steps, and after some twenty the roundings of float32 are seen."""
    recipes = [lane.recipe for lane in training_lanes(BRIEF, ["terms.style.weight=5,50"])]
    task = make_task(RECIPE, in_float64(tiny_weights()), [picture(seed).astype(float) for seed in (50, 51)])
    photos = np.random.default_rng(0).random((3, RECIPE.batch, 16, 16, 3))

    def trained(recipe, state):
        wide = jax.tree.map(lambda leaf: leaf.astype(float) if leaf.dtype == np.float32 else leaf, state)
        *_, last = train_iter(recipe, task, wide, itertools.cycle(photos))
        return last

    both = trained(stack(recipes), stack([first_state(recipe, task) for recipe in recipes]))
    lane, alone = unstack(both.state, 1), trained(recipes[1], first_state(recipes[1], task))
    for (path, one), (_, other) in zip(*map(jax.tree.leaves_with_path, (lane.params, alone.state.params))):
        assert one.dtype == float
        assert np.abs(one - other).max() < (1e-6 if "offset" in str(path) else 1e-10), path
    for name, value in alone.losses.items():
        assert both.losses[name][1] == pytest.approx(value, rel=1e-9)


def test_stopping_and_going_on_changes_no_bit(tmp_path, given, whole):
    folder, _, lanes = whole
    for reports in (1, 2):
        assert len(list(run_trainings(tmp_path, lanes, given, stop_after(7)))) == reports
    assert not list((tmp_path / "lanes").glob("*/card.json"))
    list(run_trainings(tmp_path, lanes, given))
    for lane in ("0000", "0001"):
        one, other = (read_model(home / "lanes" / lane) for home in (folder, tmp_path))
        for layer, values in one.params.items():
            for name, value in values.items():
                np.testing.assert_array_equal(value, other.params[layer][name])
    assert list(run_trainings(tmp_path, lanes, given)) == []


def test_a_lane_that_diverges_does_not_stop_the_others(tmp_path, given):
    lanes = training_lanes(BRIEF, ["learning_rate=1e-2,1e38"])
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
