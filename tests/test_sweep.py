"""Sweeps: each lane is its own single run, on any number of devices, whatever interrupts."""

import dataclasses
import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections import deque
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from tiny import (
    damage,
    fast_to_compile,
    in_float64,
    reads_damage,
    tiny_recipe,
    tiny_references,
    tiny_weights,
    write_inputs,
)

from jaxstyle import JaxstyleError, replace, stylize_iter
from jaxstyle.cli.main import main
from jaxstyle.losses import TotalVariation
from jaxstyle.pytrees import pytree, stack
from jaxstyle.references import References
from jaxstyle.runs.manifest import Files
from jaxstyle.runs.replay import recipe_from_json
from jaxstyle.solvers import Adam, ArmijoLbfgs, Lbfgs
from jaxstyle.sweeps import capacity as sweep_width
from jaxstyle.sweeps.batches import Options
from jaxstyle.sweeps.capacity import even_width, fitting_width
from jaxstyle.sweeps.folder import read_json
from jaxstyle.sweeps.plan import Lane, axis_from, for_sweeps, plan, zipped
from jaxstyle.sweeps.program import group_key, place, run_lanes
from jaxstyle.sweeps.runner import run_sweep
from jaxstyle.transfer import program
from jaxstyle.transfer.layout import lane_mesh
from jaxstyle.transfer.program import memory_needed

WORKER = Path(__file__).parent / "sweep_worker.py"


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    with fast_to_compile():
        yield


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs"))


def varied(base, count):
    return [replace(base, {"terms.style.weight": 10.0**i, "terms.content.weight": 1.0 + i, "seed": i})
            for i in range(count)]


def last_of(batch, **options):
    return deque(run_lanes(batch, **options), maxlen=1)[0]


def test_each_lane_is_its_own_single_run():
    base = tiny_recipe(4, (16, 24))
    with jax.enable_x64(True):
        weights, references = in_float64(tiny_weights()), tiny_references(dtype=np.float64)
        recipes = varied(base, 3)
        lanes = last_of(place(weights, [references] * 3, recipes, 4, lane_mesh(jax.devices()[:1])))
        for i, recipe in enumerate(recipes):
            alone = deque(stylize_iter(weights, references, recipe), maxlen=1)[0]
            np.testing.assert_allclose(lanes.images[i], alone.image, atol=1e-9)
            np.testing.assert_allclose(lanes.search.best.value[i], alone.search.best.value, rtol=1e-9)


def test_lanes_with_their_own_references():
    with jax.enable_x64(True):
        weights, recipe = in_float64(tiny_weights()), tiny_recipe(6, solver=Adam())
        references = [tiny_references(seed, np.float64) for seed in range(2)]
        lanes = last_of(place(weights, references, [recipe] * 2, 2, lane_mesh(jax.devices()[:1])))
        for i in range(2):
            alone = deque(stylize_iter(weights, references[i], recipe), maxlen=1)[0]
            np.testing.assert_allclose(lanes.images[i], alone.image, atol=1e-9)
    assert np.abs(lanes.images[0] - lanes.images[1]).max() > 0.1


@pytree
class Counted(TotalVariation):
    """Total variation that counts how often it is traced."""

    def loss(self, image, features, target):
        Counted.traces += 1
        return super().loss(image, features, target)


Counted.traces = 0


def test_a_group_is_compiled_once():
    weights, references = tiny_weights(), tiny_references()
    base = tiny_recipe(3)
    base = replace(base, {"terms": {**base.terms, "tv": Counted(weight=0.1)}})
    mesh = lane_mesh(jax.devices()[:1])
    width = fitting_width(weights, [references] * 2, varied(base, 2), mesh)
    last_of(place(weights, [references] * 2, varied(base, 2), width, mesh))
    before, programs = Counted.traces, program._advance._cache_size()
    others = [replace(recipe, {"terms.style.weight": 3.0, "seed": 9}) for recipe in varied(base, 2)]
    last_of(place(weights, [references] * 2, others, width, mesh))
    last_of(place(weights, [references], others[:1], width, mesh))
    assert (Counted.traces, program._advance._cache_size()) == (before, programs)


def test_a_lane_that_diverges_disturbs_no_other():
    weights, references = tiny_weights(), tiny_references()
    good = tiny_recipe(25, solver=Adam())
    bad = replace(good, {"solver.learning_rate": 1e30})
    mesh = lane_mesh(jax.devices()[:1])
    both = last_of(place(weights, [references] * 2, [bad, good], 2, mesh))
    pair = last_of(place(weights, [references] * 2, [good, good], 2, mesh))
    assert list(both.alive) == [False, True]
    np.testing.assert_array_equal(both.images[1], pair.images[1])


def test_stops_are_hit_and_change_nothing():
    weights, references, recipe = tiny_weights(), tiny_references(), tiny_recipe(6, (16, 24))
    batch = place(weights, [references], [recipe], 1, lane_mesh(jax.devices()[:1]))
    seen = [(at.stage, at.step) for at in run_lanes(batch, stops=(4, 8))]
    assert {(0, 4), (0, 6), (1, 2), (1, 6)} <= set(seen)
    np.testing.assert_array_equal(last_of(batch).images, last_of(batch, stops=(4, 8)).images)


def test_width_follows_memory(monkeypatch):
    weights, references = tiny_weights(), tiny_references()
    recipes, mesh = varied(tiny_recipe(2), 6), lane_mesh(jax.devices()[:1])
    assert fitting_width(weights, [references] * 6, recipes, mesh) == 6
    monkeypatch.setattr(sweep_width, "memory_budget", lambda *_: 400_000)
    width = fitting_width(weights, [references] * 6, recipes, mesh)
    batch = place(weights, [references] * width, recipes[:width], width, mesh)
    assert width < 6
    assert memory_needed(next(batch.program(0, shapes=True).compiled())) <= 400_000
    assert [even_width(n, 4, mesh) for n in (1, 4, 5, 9)] == [1, 4, 3, 3]


def test_groups_are_of_equal_structure():
    references, base = tiny_references(), tiny_recipe()
    same = [base, replace(base, {"terms.style.weight": 2, "seed": 5})]
    other = [replace(base, {"pooling": "average"}), replace(base, {"solver": Adam()})]
    keys = [group_key(recipe, references) for recipe in (*same, *other)]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_axes_and_plan():
    base = tiny_recipe()
    weight = axis_from("terms.style.weight=1e2,1e3", base)
    layers = zipped([axis_from("terms.style.layers=relu1_1;relu1_1,relu2_1", base),
                     axis_from("terms.style.layer_weights=1;0.5,0.5", base)])
    files = {"a": {"x": Files(content="a"), "y": Files(content="b")}}
    lanes = plan(base, [weight, layers], files, "tiny")
    assert len(lanes) == 8
    assert lanes[1].labels == {"photo": "a", "style": "x", "style.weight": "1e2",
                               "style.layers · style.layer_weights": "relu1_1,relu2_1 · 0.5,0.5"}
    assert [len(lane.recipe.terms["style"].layers) for lane in lanes[:4]] == [1, 2, 1, 2]
    assert [lane.recipe.terms["style"].weight for lane in lanes[:4]] == [100.0, 100.0, 1000.0, 1000.0]


@pytest.mark.parametrize("text, message", [
    ("terms.style.weight", "not of the form"), ("terms.style.weight=", "no values"),
    ("terms.styl.weight=1", "not one of content, style"),
    ("recipe=nonsense", "recipe 'nonsense' is not one of"),
])
def test_bad_axes(text, message):
    with pytest.raises(JaxstyleError, match=message):
        axis_from(text, tiny_recipe())


def test_bad_plans():
    base = tiny_recipe()
    axis = axis_from("seed=1,2", base)
    with pytest.raises(JaxstyleError, match="varied twice"):
        plan(base, [axis, axis], {}, "tiny")
    with pytest.raises(JaxstyleError, match="as many values"):
        zipped([axis, axis_from("pooling=max", base)])


def test_sweeps_replace_a_waiting_line_search():
    recipe = tiny_recipe(solver=Lbfgs(history=7, first_step=0.02))
    assert for_sweeps(recipe).solver == ArmijoLbfgs(history=7, first_step=0.02)
    adam = tiny_recipe(solver=Adam())
    assert for_sweeps(adam) is adam


def sweep_lanes(inputs, steps=4, count=3):
    files = Files(content=inputs["photo"], styles=(inputs["painting"],))
    return [Lane(labels={"n": str(i)}, recipe=recipe, files=files, weights=inputs["weights"])
            for i, recipe in enumerate(varied(tiny_recipe(steps), count))]


def run_all(directory, lanes, **options):
    return list(run_sweep(directory, lanes, title="test", options=Options(width=2, **options)))


def test_run_directory(inputs, tmp_path):
    lanes = sweep_lanes(inputs)
    progress = run_all(tmp_path / "run", lanes, snapshots=(2,))
    assert progress[-1].done == progress[-1].total == 12
    root = read_json(tmp_path / "run" / "manifest.json")
    assert root["status"] == "finished"
    assert root["axes"] == [{"name": "n", "values": ["0", "1", "2"]}]
    for i, lane in enumerate(lanes):
        folder = tmp_path / "run" / "lanes" / f"{i:04d}"
        record = read_json(folder / "manifest.json")
        assert record["status"] == "finished"
        assert recipe_from_json(record["recipe"]) == lane.recipe
        assert record["labels"] == {"n": str(i)}
        assert set(record["distances"]) == {"content", "style"}
        assert sorted(path.name for path in folder.iterdir()) == [
            "image.png", "manifest.json", "metrics.jsonl", "step-00002.png"]
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert [row["step"] for row in rows] == [0, 1, 2, 3, 4]
        assert min(row["total"] for row in rows) == pytest.approx(record["loss"])
        for row in rows:
            assert row["total"] == pytest.approx(row["content"] + row["style"], rel=1e-5)


def test_finished_lanes_are_left_alone_and_damaged_ones_redone(inputs, tmp_path):
    lanes = sweep_lanes(inputs)
    run_all(tmp_path / "run", lanes)
    folders = [tmp_path / "run" / "lanes" / f"{i:04d}" for i in range(3)]
    times = [(folder / "image.png").stat().st_mtime_ns for folder in folders]
    pixels = np.asarray(Image.open(folders[1] / "image.png"))
    assert run_all(tmp_path / "run", lanes) == []
    data = bytearray((folders[1] / "image.png").read_bytes())
    data[len(data) // 2] ^= 255
    (folders[1] / "image.png").write_bytes(data)
    redone = run_all(tmp_path / "run", lanes)
    assert {at.lanes for at in redone} == {(1,)}
    assert [(f / "image.png").stat().st_mtime_ns for f in (folders[0], folders[2])] == [times[0], times[2]]
    np.testing.assert_array_equal(np.asarray(Image.open(folders[1] / "image.png")), pixels)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="counts memory maps as Linux shows them")
def test_programs_of_finished_groups_are_freed(inputs, tmp_path):
    def count():
        return len(Path("/proc/self/maps").read_text().splitlines())

    files = Files(content=inputs["photo"], styles=(inputs["painting"],))
    lanes = [Lane(labels={"size": str(size)}, recipe=tiny_recipe(2, (size,)), files=files,
                  weights=inputs["weights"]) for size in (20, 24, 28, 32)]
    maps = {}
    for at in run_sweep(tmp_path / "run", lanes):
        maps[at.group] = count()
    assert set(maps) == {0, 1, 2, 3}
    assert maps[3] - maps[1] < 500  # about 450 for each group if they are kept


def test_a_folder_of_another_sweep_is_refused(inputs, tmp_path):
    run_all(tmp_path / "run", sweep_lanes(inputs))
    with pytest.raises(JaxstyleError, match="holds another sweep"):
        run_all(tmp_path / "run", sweep_lanes(inputs, steps=5))
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "letter.txt").write_text("dear")
    with pytest.raises(JaxstyleError, match="holds no sweep"):
        run_all(tmp_path / "else", sweep_lanes(inputs))


def interrupted(directory, lanes, monkeypatch):
    """Run until the state of the first batch was saved in the middle."""
    monkeypatch.setattr(importlib.import_module("jaxstyle.transfer.loop"), "CHUNK_SECONDS", 0.0)
    running = run_sweep(directory, lanes, options=Options(width=2, save_seconds=0.0))
    for at in running:
        if at.snapshot.step == 3:
            running.close()
            return


def test_an_interrupted_lane_goes_on_from_its_state(inputs, tmp_path, monkeypatch):
    lanes = sweep_lanes(inputs, steps=6)
    run_all(tmp_path / "whole", lanes)
    interrupted(tmp_path / "parts", lanes, monkeypatch)
    resumed = run_all(tmp_path / "parts", lanes)
    assert resumed[0].lanes == (0, 1)
    assert resumed[0].snapshot.step == 3
    for i in range(3):
        one, two = (tmp_path / name / "lanes" / f"{i:04d}" for name in ("whole", "parts"))
        np.testing.assert_array_equal(np.asarray(Image.open(one / "image.png")),
                                      np.asarray(Image.open(two / "image.png")))
        assert totals(one) == totals(two)
        assert not (two / "state").exists()


@reads_damage
def test_a_damaged_state_is_not_used(inputs, tmp_path, monkeypatch):
    lanes = sweep_lanes(inputs, steps=6)
    interrupted(tmp_path / "run", lanes, monkeypatch)
    damage(tmp_path / "run" / "lanes" / "0000" / "state")
    with pytest.warns(UserWarning, match="damaged"):
        steps = {at.lanes: at.snapshot.step for at in reversed(run_all(tmp_path / "run", lanes))}
    assert steps == {(1,): 3, (0, 2): 0}


def totals(folder):
    return [json.loads(line)["total"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def worker(*arguments, **environment):
    return subprocess.Popen([sys.executable, str(WORKER), *map(str, arguments)], text=True,
                            env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process):
    output, _ = process.communicate(timeout=1200)
    assert process.returncode == 0, output
    return output


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_ten_kills_end_in_the_same_results(inputs, tmp_path):
    folder = Path(inputs["weights"]).parent
    output = finish(worker("kill", folder, tmp_path / "whole", tmp_path / "killed", tmp_path / "cache"))
    assert "kills 10" in output
    for i in range(3):
        one, two = (tmp_path / name / "lanes" / f"{i:04d}" for name in ("whole", "killed"))
        assert totals(one) == totals(two)
        for name in ("image.png", "step-00004.png"):
            np.testing.assert_array_equal(np.asarray(Image.open(one / name)),
                                          np.asarray(Image.open(two / name)))


def test_eight_devices_give_what_one_gives(inputs, tmp_path):
    folder = Path(inputs["weights"]).parent
    runs = [worker("images", n, folder, tmp_path / f"{n}.npz") for n in (1, 8)]
    for run in runs:
        finish(run)
    one, eight = (np.load(tmp_path / f"{n}.npz") for n in (1, 8))
    np.testing.assert_array_equal(eight["images"], one["images"])
    np.testing.assert_array_equal(eight["losses"], one["losses"])
    assert len(set(eight["losses"].tolist())) == 8


def command(inputs, output, *more):
    return ["sweep", inputs["photo"], inputs["painting"], "-o", str(output), "--weights", inputs["weights"],
            "--recipe", "gatys-2015", "--terms.content.layers", "relu2_1", "--terms.style.layers",
            "relu1_1,relu2_1", "--terms.style.layer_weights", "0.5,0.5", "--size", "24", "--steps", "3",
            *more]


def test_command_line(inputs, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "run"
    call = command(inputs, out, "--vary", "terms.style.weight=1,10", "--seeds", "2", "--contents",
                   inputs["photo2"], "--snapshots", "2")
    assert main(call) == 0
    assert len(list(out.glob("lanes/*/image.png"))) == 8
    assert len(list(out.glob("lanes/*/step-00002.png"))) == 8
    assert {p.name for p in out.glob("*.*")} == {"manifest.json", "report.html", "contact-sheet.png",
                                                 "loss-curves.png", "loss-parts.png", "distances.png"}
    record = read_json(out / "lanes" / "0005" / "manifest.json")
    assert record["labels"] == {"photo": "photo2", "style.weight": "1", "seed": "1"}
    assert record["recipe"]["solver"]["type"] == "ArmijoLbfgs"
    assert main(call) == 0  # finished: only the report is made again
    assert main(["replay", str(out / "lanes" / "0003" / "image.png"), "-o", str(tmp_path / "again.png")]) == 0
    first, again = (np.asarray(Image.open(p), np.int16)
                    for p in (out / "lanes" / "0003" / "image.png", tmp_path / "again.png"))
    assert np.abs(first - again).mean() < 1
    assert main(command(inputs, out, "--vary", "terms.style.weight=1,20")) == 2
    assert "holds another sweep" in capfd.readouterr().err.replace("\n", " ")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_two_processes_share_a_sweep(inputs, tmp_path):
    port = free_port()
    call = command(inputs, tmp_path / "run", "--vary", "terms.style.weight=1,10,100", "--distributed",
                   "--coordinator", f"127.0.0.1:{port}", "--processes", "2")
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "JAXSTYLE_CACHE": str(tmp_path / "cache")}
    runs = [subprocess.Popen([sys.executable, "-m", "jaxstyle.cli.main", *call, "--process", str(i)], env=env,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for i in (0, 1)]
    outputs = [finish(run) for run in runs]
    assert (tmp_path / "run" / "report.html").exists()
    assert "report.html" in outputs[0] and "report.html" not in outputs[1]
    alone = command(inputs, tmp_path / "alone", "--vary", "terms.style.weight=1,10,100")
    assert main(alone) == 0
    for i in range(3):
        shared, single = (read_json(tmp_path / name / "lanes" / f"{i:04d}" / "manifest.json")
                          for name in ("run", "alone"))
        assert shared["loss"] == pytest.approx(single["loss"], rel=1e-3)
    shutil.rmtree(tmp_path / "run")


def test_stacking_keeps_the_kind_of_numbers():
    recipe = tiny_recipe()
    stacked = stack([recipe, recipe])
    assert stacked.terms["style"].weight.dtype == jnp.float32
    assert stacked.seed.dtype == jnp.int32


def test_photos_of_different_sizes_share_programs():
    weights, recipe = tiny_weights(), tiny_recipe(2)
    mesh = lane_mesh(jax.devices()[:1])
    rng, styles = np.random.default_rng(0), tiny_references().styles
    photos = [References(content=rng.random((24 * size, 32 * size, 3), np.float32), styles=styles)
              for size in (1, 2, 3)]
    assert len({group_key(recipe, given) for given in photos}) == 1
    functions = (program._targets, program._begin, program._advance)
    last_of(place(weights, photos[:1], [recipe], 1, mesh))
    compiled = [function._cache_size() for function in functions]
    for given in photos[1:]:
        last_of(place(weights, [given], [recipe], 1, mesh))
    assert [function._cache_size() for function in functions] == compiled


def test_the_name_of_a_network_is_not_compiled():
    weights, references, recipe = tiny_weights(), tiny_references(), tiny_recipe(2)
    deque(stylize_iter(weights, references, recipe), maxlen=1)
    compiled = program._advance._cache_size()
    renamed = dataclasses.replace(weights, name="other", sha256="1234")
    deque(stylize_iter(renamed, references, recipe), maxlen=1)
    assert program._advance._cache_size() == compiled
