"""Training of fast networks: resuming bit for bit, failures, photos, styles that are added."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fast_tiny import RECIPE, picture, trained, write_photos
from tiny import damage, fast_to_compile, reads_damage, tiny_weights

from jaxstyle.cli.main import main
from jaxstyle.errors import JaxstyleError
from jaxstyle.fast.card import Card
from jaxstyle.fast.model import read_model
from jaxstyle.fast.training import loop, recipes
from jaxstyle.fast.training.data import Photos, gathered, photo_files, split
from jaxstyle.fast.training.folder import CHECKPOINTS, HISTORY, Bookkeeping, begin
from jaxstyle.fast.training.loop import make_task, model_of, train_iter
from jaxstyle.fast.training.recipe import Architecture, Training
from jaxstyle.fast.training.train import batch_loss, check_start, examples, first_state, styles_at
from jaxstyle.images.files import save
from jaxstyle.ops.colors.palette import matched_colours
from jaxstyle.ops.resize import resize
from jaxstyle.pytrees import from_json, replace, to_json
from jaxstyle.weights.store import write_weights


@pytest.fixture(scope="module", autouse=True)
def quick():
    with fast_to_compile():
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos") / "photos")


@pytest.fixture(scope="module")
def straight(tmp_path_factory, photos):
    """Forty steps without a stop: the folder and the state."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    return folder, trained(folder, photos)[1]


def assert_equal(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


class Fake:
    """A stream of photos that are given."""

    def __init__(self, batches):
        self.batches = iter(batches)

    def __next__(self):
        return next(self.batches)


def test_losses_fall_and_everything_is_written(straight):
    folder, _ = straight
    records = [json.loads(line) for line in (folder / HISTORY).read_text().splitlines()]
    totals = [record["total"] for record in records if "total" in record]
    assert len(totals) == 4
    assert totals[-1] < 0.8 * totals[0]
    held = [record["held_out"]["total"] for record in records if "held_out" in record]
    assert len(held) == 4
    assert (folder / "loss.png").stat().st_size > 1000
    assert sorted(path.name for path in (folder / "samples").iterdir()) == ["00020.png", "00040.png"]
    model = read_model(folder)
    assert model.card.steps == 40
    assert model.card.losses["held_out"]["total"] == pytest.approx(held[-1])


@pytest.mark.parametrize("styles", [1, 2])
def test_stopping_and_going_on_changes_no_bit(tmp_path, photos, straight, styles):
    whole = straight[1] if styles == 2 else trained(tmp_path / "whole", photos, styles)[1]
    _, half = trained(tmp_path / "run", photos, styles, stop=lambda progress: progress.report.step == 20)
    assert int(half.step) == 21  # one more than was seen when it was asked to stop
    _, after = trained(tmp_path / "run", photos, styles)
    assert int(after.step) == 40
    assert_equal(after, whole)
    lines = [json.loads(line)["step"] for line in (tmp_path / "run" / HISTORY).read_text().splitlines()]
    assert lines == sorted(lines)


def test_copying_comes_first_and_is_gone_on_with(tmp_path, photos):
    """Four of forty steps, and a stop among them: reports end where the loss changes."""
    whole = trained(tmp_path / "whole", photos, copying=400)[1]
    lines = [json.loads(line) for line in (tmp_path / "whole" / HISTORY).read_text().splitlines()]
    assert [line["step"] for line in lines if "copy" in line] == [4]
    assert [line["step"] for line in lines if "style" in line] == [10, 20, 30, 40]
    _, half = trained(tmp_path / "run", photos, copying=400, stop=lambda progress: progress.report.step == 4)
    assert int(half.step) == 5
    assert_equal(trained(tmp_path / "run", photos, copying=400)[1], whole)


def test_a_killed_process_loses_only_the_steps_since(tmp_path, photos, straight):
    (tmp_path / "photos").symlink_to(photos)
    script = Path(__file__).with_name("fast_tiny.py")
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path), "2", "4000"])
    checkpoints = tmp_path / "run" / CHECKPOINTS
    try:
        deadline = time.monotonic() + 300
        while not (checkpoints / "20").exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    saved = max(int(path.name) for path in checkpoints.iterdir() if path.name.isdigit())
    assert saved >= 20
    # The recipe's steps do not matter where the rate is constant, but they are part of the identity.
    identity = json.loads((tmp_path / "run" / "training.json").read_text())
    identity["recipe"]["steps"] = saved + 10
    (tmp_path / "run" / "training.json").write_text(json.dumps(identity))
    _, after = trained(tmp_path / "run", photos, steps=saved + 10)
    _, expected = trained(tmp_path / "whole", photos, steps=saved + 10)
    assert_equal(after, expected)


@reads_damage
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, photos, straight):
    trained(tmp_path / "run", photos, stop=lambda progress: progress.report.step == 20)
    checkpoints = tmp_path / "run" / CHECKPOINTS
    oldest = min((path for path in checkpoints.iterdir() if path.name.isdigit()),
                 key=lambda path: int(path.name))
    kept = oldest.rename(tmp_path / "kept")
    damage(checkpoints)
    kept.rename(oldest)
    with pytest.warns(UserWarning, match="damaged; going on from the one before"):
        _, after = trained(tmp_path / "run", photos)
    assert_equal(after, straight[1])


def test_another_training_in_the_folder_is_refused(tmp_path, photos, straight):
    folder, _ = straight
    with pytest.raises(JaxstyleError, match="begun with another recipe"):
        trained(folder, photos, learning_rate=0.5)
    books = Bookkeeping(card=Card(name="a", styles=("a",)), identity={}, held_out=np.zeros((0, 16, 16, 3)))
    with pytest.raises(JaxstyleError, match="holds a training already"):
        begin(folder, RECIPE, books, resume=False)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("mine")
    with pytest.raises(JaxstyleError, match="not empty and holds no training"):
        begin(tmp_path / "other", RECIPE, books, resume=False)


def test_a_loss_that_is_not_finite_goes_back_and_on_with_half_the_rate():
    task = make_task(RECIPE, tiny_weights(), [picture(100), picture(101)])
    good = np.stack([picture(i)[:16, :16] for i in range(2)])
    bad = np.full_like(good, np.nan)
    stream = Fake([*[good] * 12, bad, *[good] * 60])
    reports = list(train_iter(RECIPE, task, first_state(RECIPE, task), stream))
    noted = [report for report in reports if report.note]
    assert [report.step for report in noted] == [10]
    assert "half the learning rate" in noted[0].note
    assert float(reports[-1].state.scale) == 0.5
    assert reports[-1].step == 40
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(reports[-1].state))
    with pytest.raises(JaxstyleError, match="not finite 5 times in a row after step 0"):
        list(train_iter(RECIPE, task, first_state(RECIPE, task), Fake([bad] * 60)))


def test_changing_numbers_compiles_nothing():
    task = make_task(RECIPE, tiny_weights(), [picture(100), picture(101)])
    good = [np.stack([picture(i)[:16, :16] for i in range(2)])] * 20
    list(train_iter(RECIPE, task, first_state(RECIPE, task), Fake(good), lambda: True))
    before = loop._advance._cache_size()
    other = replace(RECIPE, {"learning_rate": 3e-3, "terms.style.weight": 7.0, "clip": 2.0, "average": 0.5,
                             "seed": 5})
    list(train_iter(other, task, first_state(other, task), Fake(good), lambda: True))
    assert loop._advance._cache_size() == before


def test_an_added_style_leaves_the_others_bit_equal(straight, photos):
    base = read_model(straight[0])
    task = make_task(RECIPE, tiny_weights(), [picture(102)], base)
    good = [np.stack([picture(i)[:16, :16] for i in range(2)])] * 60
    reports = list(train_iter(RECIPE, task, first_state(RECIPE, task), Fake(good)))
    assert reports[-1].losses["total"] < reports[0].losses["total"]
    model = model_of(task, reports[-1].state, Card(name="more", styles=("a", "b", "c")))
    assert model.network.styles == 3
    for name, layer in base.params.items():
        for key, value in layer.items():
            found = model.params[name][key]
            np.testing.assert_array_equal(found[:2] if key in ("scale", "offset") else found, value)
    changed = model.params["r1a"]["scale"][2] - base.params["r1a"]["scale"].mean(0)
    assert float(jnp.abs(changed).max()) > 1e-3


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_other_norms_and_the_stability_term_train(norm):
    recipe = replace(RECIPE, {"architecture": Architecture(width=2, depth=1, norm=norm), "noise": 0.05,
                              "stability": 1.0, "steps": 10})
    task = make_task(recipe, tiny_weights(), [picture(100)])
    good = [np.stack([picture(i)[:16, :16] for i in range(2)])] * 10
    first = first_state(recipe, task)
    statistics = jax.tree.map(np.asarray, first.statistics)
    report = list(train_iter(recipe, task, first, Fake(good)))[-1]
    assert report.losses["stability"] > 0
    if norm == "batch":
        assert np.abs(report.state.statistics["c1"]["mean"] - statistics["c1"]["mean"]).max() > 1e-4
    else:
        assert not statistics


def test_every_painting_comes_equally_often():
    drawn = np.concatenate([styles_at(RECIPE, jnp.asarray(step), 3) for step in range(9)])
    assert np.bincount(drawn, minlength=3).tolist() == [6, 6, 6]
    assert all(sorted(drawn[i:i + 3]) == [0, 1, 2] for i in range(0, 18, 3))


def test_recipes_go_through_json():
    from jaxstyle.losses import TERMS
    for recipe in recipes.RECIPES.values():
        data = json.loads(json.dumps(to_json(recipe)))
        assert from_json(data, (Training, Architecture, *TERMS)) == recipe
    with pytest.raises(JaxstyleError, match="not one of default, johnson-2016"):
        recipes.named("picasso")


def test_published_recipes_say_what_changes_on_a_small_network():
    from jaxstyle.weights.store import load_weights
    slim = load_weights("vgg19-slim")
    recipe, note = recipes.on_network(recipes.JOHNSON_2016, slim)
    assert "relative" in note
    assert recipe.terms["style"].normalization == "relative"
    assert recipe.terms["style"].layers == ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    assert recipes.on_network(recipes.DEFAULT, slim) == (recipes.DEFAULT, "")


def test_photos_go_on_at_their_place_and_leave_out_what_is_broken(tmp_path):
    write_photos(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    files = photo_files(tmp_path)

    def stream():
        return Photos(files, size=16, batch=3, seed=4)

    first, second = stream(), stream()
    for _ in range(7):
        next(first)
    state = json.loads(json.dumps(first.get_state()))
    assert list(state["skipped"]) == [str(tmp_path / "broken.jpg")]
    second.set_state(state)
    for _ in range(5):
        np.testing.assert_array_equal(next(first), next(second))
    batch = next(first)
    assert batch.shape == (3, 16, 16, 3)
    assert batch.dtype == np.float32
    first.close()
    second.close()


def test_bad_photos_end_in_clear_errors(tmp_path):
    with pytest.raises(JaxstyleError, match="is no folder"):
        photo_files(tmp_path / "missing")
    with pytest.raises(JaxstyleError, match="holds no pictures"):
        photo_files(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(JaxstyleError, match=r"none of 1 photos can be decoded"):
        next(gathered(tmp_path, size=16, batch=1, seed=0, least_scale=1.0).photos)


def test_held_out_photos_are_not_trained_with():
    files = tuple(Path(f"{i:03d}.jpg") for i in range(100))
    used, kept = split(files, seed=3)
    assert len(kept) == 6
    assert sorted((*used, *kept)) == list(files)
    assert split(files, seed=3) == (used, kept)


@pytest.mark.parametrize(("field", "value", "message"), [
    ("steps", 0, "whole number of at least 1"), ("crop", 3, "at least 16"), ("least_scale", 0.0, "above 0"),
    ("schedule", "linear", "not one of constant, cosine"), ("noise", -1.0, "not negative"),
    ("architecture.norm", "layer", "not one of conditional, instance, batch"),
    ("architecture.width", 0, "at least 1")])
def test_recipes_refuse_what_makes_no_sense(field, value, message):
    with pytest.raises(JaxstyleError, match=message):
        replace(RECIPE, {field: value})


def test_several_styles_need_conditional_norm():
    with pytest.raises(JaxstyleError, match="holds one style, not 2"):
        make_task(replace(RECIPE, {"architecture.norm": "instance"}), tiny_weights(),
                  [picture(1), picture(2)])


def test_starting_from_a_model(straight, photos, tmp_path):
    model = read_model(straight[0])
    _, state = trained(tmp_path / "more", photos, start=model, **{"learning_rate": 0.0, "copying": 0})
    assert_equal(state.params, model.params)  # nothing was learnt, so these are what it began with
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), state.average, model.params)
    _, after = trained(tmp_path / "more too", photos, start=model, copying=0, steps=10)
    assert not np.array_equal(*(np.asarray(jax.tree.leaves(each.params)[0]) for each in (state, after)))
    task = make_task(RECIPE, tiny_weights(), [picture(0)])
    with pytest.raises(JaxstyleError, match=r"another network.* styles 2; give the same"):
        check_start(task, model)


def test_starting_from_a_model_on_the_command_line(straight, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_weights(tmp_path / "tiny.safetensors", tiny_weights(), "vgg19")
    save(tmp_path / "a.png", picture(0))
    save(tmp_path / "b.png", picture(1))
    command = ["train", "a.png", "b.png", "--photos", str(photos), "--weights", "tiny.safetensors",
               "--terms.content.layers", "relu2_1", "--terms.content.layer-weights", "1",
               "--terms.style.layers", "relu1_1,relu2_1", "--terms.style.layer-weights", "0.5,0.5",
               "--crop", "16", "--style-size", "16", "--steps", "10", "--architecture.depth", "1",
               "--start-from", str(straight[0])]
    assert main([*command, "-o", "wide"]) == 2
    assert "with width" in capsys.readouterr().err and not (tmp_path / "wide").exists()
    own = read_model(straight[0]).network
    assert main([*command, "-o", "more", "--architecture.width", str(own.width), "--architecture.output",
                 own.output]) == 0
    card = read_model(tmp_path / "more").card
    assert card.notes["started from"]["name"] == "tiny" and card.notes["started from"]["steps"] == 40
    assert card.recipe["copying"] == 0
    for other in ([], ["--start-from", str(tmp_path / "more")]):  # it goes on with the same model alone
        assert main([*command[:-2], *other, "--copying", "0", "-o", "more", "--resume",
                     "--architecture.width", str(own.width), "--architecture.output", own.output]) == 2
        assert "another model that is started from" in capsys.readouterr().err
    assert main([*command, "-o", "both", "--add-to", str(straight[0])]) == 2
    assert "not both" in capsys.readouterr().err


def test_the_photo_is_kept_in_the_paintings_colours(photos):
    """What is copied lies as far on the way to the painting's colours as `palette` says."""
    paintings = [picture(7, 32, 32) ** 3, picture(8, 24, 40)]
    photo = jnp.asarray(picture(9, 16, 16))
    for palette in (0.0, 0.5, 1.0):
        recipe = replace(RECIPE, {"palette": palette})
        task = make_task(recipe, tiny_weights(), paintings)
        sized = resize(paintings[1], recipe.style_size)
        goal = photo + palette * (matched_colours(photo, [sized], (1.0,)) - photo)
        state = first_state(recipe, task)
        batch = examples(recipe, photo[None], jnp.asarray([1]), 0)
        image = task.network.apply({"params": state.params}, photo, jnp.asarray([0.0, 1.0]))
        loss, _ = batch_loss(recipe, task, state.params, {}, batch, purpose="copy")
        np.testing.assert_allclose(loss, jnp.abs(image - goal).mean(), rtol=1e-5)
