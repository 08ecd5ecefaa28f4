"""The search over weights: what it decides, and that interruptions change nothing."""

import dataclasses
import importlib
import json
import math
import os
import signal
import subprocess
import sys
from collections import deque
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from tiny import damage, fast_to_compile, in_float64, reads_damage, tiny_recipe, write_inputs

from jaxstyle import JaxstyleError, Stage, replace
from jaxstyle.cli.main import main
from jaxstyle.cli.running.arguments import ROOTS, split_overrides
from jaxstyle.losses import Content, Patches, TotalVariation
from jaxstyle.metrics.distances import measured
from jaxstyle.metrics.pareto import pareto_front
from jaxstyle.metrics.strength import Balance, measure_balance
from jaxstyle.pytrees import get, to_json
from jaxstyle.report.data import read_sweep
from jaxstyle.runs.manifest import Files, load_references, manifest
from jaxstyle.runs.replay import recipe_from_json
from jaxstyle.solvers import Adagrad, Adam, ArmijoLbfgs, RMSprop, Sgd
from jaxstyle.sweeps.batches import Options, save_states
from jaxstyle.sweeps.folder import read_json, write_plan
from jaxstyle.sweeps.plan import Lane
from jaxstyle.sweeps.runner import run_sweep
from jaxstyle.sweeps.search.candidates import Tuning, candidates, chosen_settings, other_weights
from jaxstyle.sweeps.search.halving import (
    KEEP_AT_LEAST,
    crowding,
    decide,
    lane_steps,
    ranked,
    read_rungs,
    rungs,
    tune,
)
from jaxstyle.transfer import presets
from jaxstyle.transfer.loop import stylize_iter
from jaxstyle.transfer.settings import override
from jaxstyle.weights.store import load_weights

STAGES = (Stage(size=16, steps=7), Stage(size=24, steps=5))
COUNT, RUNGS = 8, [6, 12]
WORKER = Path(__file__).parent / "sweep_worker.py"


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    with fast_to_compile():
        yield


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def lane(inputs):
    files = Files(content=inputs["photo"], styles=(inputs["painting"],))
    recipe = replace(tiny_recipe(), {"stages": STAGES, "start.noise": 0.3})
    return Lane(labels={}, recipe=recipe, files=files, weights=inputs["weights"])


def search(directory, lane, **given):
    options = given.pop("options", Options(width=3))
    return tune(directory, Tuning(lane, **{"candidates": COUNT, **given}), options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, lane):
    """A search that nothing interrupted."""
    folder = tmp_path_factory.mktemp("search") / "whole"
    deque(search(folder, lane), maxlen=0)
    return folder


@pytest.fixture
def given_balance(monkeypatch):
    """Sets the factors of the weakest and the strongest style, where measuring them would only take long."""
    def give(*factors):
        balance = Balance(strengths=np.array([0.1, 0.9]), factors=np.array(factors))
        monkeypatch.setattr("jaxstyle.sweeps.search.candidates.measure_balance", lambda *given: balance)

    return give


def folder_of(directory, i):
    return directory / "lanes" / f"{i:04d}"


def records_of(directory):
    return [read_json(folder_of(directory, i) / "manifest.json") for i in range(COUNT)]


def results(directory):
    """All that a search is about: decisions, fates, losses after every step, pictures, the front."""
    lanes = []
    for i, record in enumerate(records_of(directory)):
        folder = folder_of(directory, i)
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        losses = [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
        pixels = np.asarray(Image.open(folder / "image.png")).tobytes()
        lanes.append((record["status"], record["steps"], record["loss"], record["distances"], losses, pixels))
    return read_rungs(directory), lanes, read_sweep(directory).front()


def test_ranking_by_fronts():
    rng = np.random.default_rng(0)
    points = {i: tuple(map(float, rng.random(2))) for i in range(20)}
    order = ranked(points)
    assert sorted(order) == list(range(20))
    first = {list(points)[i] for i in pareto_front(list(points.values()))}
    assert set(order[: len(first)]) == first
    ends = {min(first, key=lambda i: points[i][k]) for k in (0, 1)}
    assert set(order[:2]) == ends
    assert crowding(1, [0, 1, 2], {0: (0, 1), 1: (0.5, 0.5), 2: (1, 0)}) == 2


def test_rungs():
    assert rungs(200, 16) == [50, 100, 200]
    assert rungs(200, 4) == [200]
    assert rungs(1, 16) == [1]
    assert lane_steps([50, 100, 200], 16) == 16 * 50 + 8 * 50 + 4 * 100
    assert lane_steps([10], 3) == 30


def test_a_failed_candidate_goes_on_at_no_rung():
    def end(status, *distances):
        return {"status": status, "distances": dict(zip(("content", "style"), distances))}, np.zeros(3)

    ends = {i: end("finished", float(i), 9.0 - i) for i in range(7)}
    ends[7] = end("failed", 0.0, 0.0)
    rung = decide(5, range(8), ends, last=False)
    assert len(rung.kept) == KEEP_AT_LEAST and 7 not in rung.kept
    assert math.isnan(rung.points[7][0]) and rung.points[3] == (3.0, 6.0)
    assert decide(5, range(8), ends, last=True).kept == tuple(range(7))


def test_candidates_climb_through_the_stages(whole, lane, inputs):
    decided, records = read_rungs(whole), records_of(whole)
    assert [(rung.step, len(rung.ran), len(rung.kept)) for rung in decided] == [(6, 8, 4), (12, 4, 4)]
    assert set(decided[0].kept) == set(ranked(decided[0].points)[:KEEP_AT_LEAST])
    assert [record["status"] for record in records].count("stopped") == 4
    assert read_json(whole / "manifest.json")["status"] == "finished"
    weights, references = load_weights(inputs["weights"]), load_references(lane.files)
    for i, record in enumerate(records):
        kept = i in decided[-1].kept
        assert (record["status"], record["steps"]) == (("finished", 12) if kept else ("stopped", 6))
        pixels = np.asarray(Image.open(folder_of(whole, i) / "image.png"), np.float32) / 255
        assert pixels.shape[1] == (24 if kept else 16)  # the first rung is in the first stage
        at = measured(weights, references, lane.recipe, pixels, int(kept))
        assert record["distances"] == pytest.approx(at, rel=0.05)
        assert record["judge"]["sha256"] == record["weights"]["sha256"]
        point = decided[1 if kept else 0].points[i]
        assert tuple(record["distances"].values()) == point
        if kept:
            recipe = recipe_from_json(record["recipe"])
            alone = deque(stylize_iter(weights, references, recipe), maxlen=1)[0]
            assert record["loss"] == pytest.approx(float(alone.search.best.value), rel=1e-3)


def test_survivors_are_plain_runs_in_float64(tmp_path, lane, given_balance, monkeypatch):
    """Saved, loaded and gone on with at a rung: not one bit is lost on the way."""
    given_balance(0.1, 10)
    halving = importlib.import_module("jaxstyle.sweeps.search.halving")

    def wide_references(files):
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), load_references(files))

    with jax.enable_x64(True):
        weights = in_float64(load_weights(lane.weights))
        monkeypatch.setattr(halving, "load_weights", lambda name: weights)
        monkeypatch.setattr(halving, "load_references", wide_references)
        deque(search(tmp_path / "run", lane), maxlen=0)
        kept = read_rungs(tmp_path / "run")[-1].kept
        assert len(kept) == KEEP_AT_LEAST
        for i in kept:
            record = read_json(folder_of(tmp_path / "run", i) / "manifest.json")
            alone = deque(stylize_iter(weights, wide_references(lane.files),
                                       recipe_from_json(record["recipe"])), maxlen=1)[0]
            assert record["loss"] == pytest.approx(float(alone.search.best.value), rel=1e-9)
            pixels = np.asarray(Image.open(folder_of(tmp_path / "run", i) / "image.png"))
            np.testing.assert_array_equal(pixels, np.round(np.asarray(alone.image) * 255))


def stepwise(monkeypatch):
    monkeypatch.setattr(importlib.import_module("jaxstyle.transfer.loop"), "CHUNK_SECONDS", 0.0)


def interrupted(directory, lane, after):
    """Close a search that saves every step after so many snapshots."""
    running = search(directory, lane, options=Options(width=3, save_seconds=0.0))
    for count, _ in enumerate(running):
        if count == after:
            running.close()
            return


def test_interruptions_change_nothing(tmp_path, whole, lane, monkeypatch):
    stepwise(monkeypatch)
    for after in (0, 3, 12, 26, 40):
        interrupted(tmp_path / "run", lane, after)
        monkeypatch.setattr("jaxstyle.sweeps.search.candidates.measure_balance", None)  # measured once
    done = deque(search(tmp_path / "run", lane), maxlen=1)
    assert not done or done[0].done == done[0].total == lane_steps(RUNGS, COUNT)
    assert results(tmp_path / "run") == results(whole)
    assert not list((tmp_path / "run").glob("lanes/*/state"))


def test_nothing_is_done_twice(tmp_path, whole, lane, monkeypatch):
    stepwise(monkeypatch)
    run = tmp_path / "run"
    running = search(run, lane, options=Options(width=3, save_seconds=0.0))
    for at in running:
        if len(read_rungs(run)) == 1 and at.snapshot.stage == 1 and at.snapshot.step == 3:
            decided = read_rungs(run)[0]
            break
    running.close()
    stopped, going = set(range(COUNT)) - set(decided.kept), set(at.lanes)
    times = {i: (folder_of(run, i) / "manifest.json").stat().st_mtime_ns for i in stopped}
    seen = list(search(run, lane))
    assert {i for at in seen for i in at.lanes} == set(decided.kept)
    places = {set(at.lanes) <= going: (at.snapshot.stage, at.snapshot.step) for at in reversed(seen)}
    assert places == {True: (1, 3), False: (0, 6)}  # the others are where the rung left them
    assert times == {i: (folder_of(run, i) / "manifest.json").stat().st_mtime_ns for i in stopped}
    assert results(run) == results(whole)
    assert list(search(run, lane)) == []


@reads_damage
def test_damaged_files_are_made_again(tmp_path, whole, lane, monkeypatch):
    stepwise(monkeypatch)
    run = tmp_path / "run"
    interrupted(run, lane, 2)
    damage(folder_of(run, 0) / "state")
    with pytest.warns(UserWarning, match="damaged"):
        seen = [(at.lanes, at.snapshot.step) for at in search(run, lane)]
    assert seen[0] == ((1, 2), 2) and {((0, 3, 4), 0), ((5, 6, 7), 0)} <= set(seen)
    stopped = next(i for i, record in enumerate(records_of(run)) if record["status"] == "stopped")
    finished = read_rungs(run)[-1].kept[0]
    for i in (stopped, finished):
        flip(folder_of(run, i) / "image.png")
    assert {at.lanes for at in search(run, lane)} == {(stopped,), (finished,)}
    assert results(run) == results(whole)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


def test_another_command_is_refused(tmp_path, whole, lane, inputs, monkeypatch):
    monkeypatch.setattr("jaxstyle.sweeps.search.candidates.measure_balance", None)  # refused before any work
    other = replace(lane.recipe, {"terms.content.weight": 2.0})
    for given in ({"seed": 1}, {"candidates": 9}, {"lane": Lane({}, other, lane.files, lane.weights)}):
        with pytest.raises(JaxstyleError, match="holds another sweep"):
            next(search(whole, **{"lane": lane, **given}))
    with pytest.raises(JaxstyleError, match="at least 2"):
        next(search(tmp_path / "run", lane, candidates=1))
    with pytest.raises(JaxstyleError, match="holds another sweep"):
        next(run_sweep(whole, [lane]))
    records = [manifest(lane.recipe, lane.files, load_weights(lane.weights))]
    write_plan(tmp_path / "sweep", [lane], records, "")
    with pytest.raises(JaxstyleError, match="holds another sweep"):
        next(search(tmp_path / "sweep", lane))
    with pytest.raises(JaxstyleError, match="holds no search"):
        read_rungs(tmp_path / "sweep")


def test_all_candidates_fail(tmp_path, lane, given_balance):
    given_balance(1e40, 1e42)
    deque(search(tmp_path / "run", lane), maxlen=0)
    assert [rung.kept for rung in read_rungs(tmp_path / "run")] == [(), ()]
    assert {record["status"] for record in records_of(tmp_path / "run")} == {"failed"}
    assert read_sweep(tmp_path / "run").front() == ([], None)
    assert list(search(tmp_path / "run", lane)) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kills_end_in_the_same_results(inputs, tmp_path):
    folders = [Path(inputs["weights"]).parent, tmp_path / "whole", tmp_path / "killed", tmp_path / "cache"]
    done = subprocess.run([sys.executable, WORKER, "kill_search", *folders], capture_output=True, text=True,
                          env={**os.environ, "JAX_PLATFORMS": "cpu", "JAXSTYLE_OPS": "reference"},
                          timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("killed") >= 2
    assert results(tmp_path / "killed") == results(tmp_path / "whole")


def command(inputs, output, *more):
    return ["tune", inputs["photo"], inputs["painting"], "-o", str(output), "--weights", inputs["weights"],
            "--size", "96", "--recipe", "gram", "--terms.content.layers", "relu2_1",
            "--terms.style.layers", "relu1_1,relu2_1", "--terms.style.layer_weights", "0.5,0.5",
            "--solver", "Adam", *more]


def test_command_line(inputs, tmp_path, monkeypatch, compiled_programs, capfd):
    monkeypatch.setenv("JAXSTYLE_CACHE", str(compiled_programs))
    monkeypatch.setattr("jaxstyle.sweeps.search.candidates.measure_balance",
                        partial(measure_balance, steps=9))
    stepwise(monkeypatch)
    call = command(inputs, tmp_path / "run", "--candidates", "8", "--steps", "6", "--save-every", "0")
    with monkeypatch.context() as patch:
        patch.setattr("jaxstyle.sweeps.batches.save_states", pressing_ctrl_c)
        assert main(call) == 130
    assert "the same command goes on from here" in capfd.readouterr().err.replace("\n", " ")
    assert main(call) == 0
    printed = capfd.readouterr().err
    assert "step 3: 8 candidates ran, 4 were kept" in printed
    check_pasted(next(line for line in printed.splitlines() if line.startswith("knee photo")))
    assert (tmp_path / "run" / "report.html").exists()
    assert len(records_of(tmp_path / "run")[0]["recipe"]["stages"]) == 2
    assert main(call) == 0  # finished: only the report is made again
    assert "knee photo" in capfd.readouterr().err
    assert main(command(inputs, tmp_path / "run", "--candidates", "6", "--steps", "6")) == 2
    assert "holds another sweep" in capfd.readouterr().err.replace("\n", " ")


def check_pasted(line):
    """The options that a search prints can be given to `jaxstyle stylize`, and are what it ran."""
    rest, settings = split_overrides(line.partition("  ")[2].split(), ROOTS)
    assert rest == ["--recipe", "gram"]
    recipe = override(presets.named("gram"), settings)
    assert isinstance(recipe.solver, Adam) and recipe.solver.learning_rate == float(
        settings["solver.learning_rate"])
    assert recipe.terms["style"].layers == ("relu1_1", "relu2_1") and "terms.style.weight" in settings


def pressing_ctrl_c(runs, at):
    """The user loses patience while states are saved for the second time."""
    save_states(runs, at)
    if at.step == 2:
        signal.raise_signal(signal.SIGINT)


def test_chosen_settings(whole, lane):
    record = records_of(whole)[1]
    terms = record["recipe"]["terms"]["style"]
    each = ",".join(f"{weight:.3g}" for weight in terms["layer_weights"])
    assert chosen_settings(record) == {"terms.style.weight": f"{terms['weight']:.4g}",
                                       "terms.style.layer_weights": each}


def test_gamma_and_total_variation_are_searched_too(inputs, monkeypatch):
    """Each by its own factor around the recipe's, every fourth as it is; γ only where there are maps."""
    monkeypatch.setattr("jaxstyle.sweeps.search.candidates.measure_balance",
                        lambda *_: Balance(np.array([0.0, 1.0]), np.array([1.0, 10.0])))
    terms = {"content": Content(layers=("relu2_1",)), "tv": TotalVariation(weight=2.0),
             "style": Patches(layers=("relu1_1", "relu2_1"), gamma=3.0)}
    files = Files(content=inputs["photo"], styles=(inputs["painting"],), content_map=inputs["map"],
                  style_maps=(inputs["map2"],))
    lane = Lane({}, replace(tiny_recipe(terms=terms), {"stages": STAGES}), files, inputs["weights"])
    weights = load_weights(inputs["weights"])
    made = candidates(weights, load_references(files), Tuning(lane, candidates=40))
    for path, own in (("terms.style.gamma", 3.0), ("terms.tv.weight", 2.0)):
        values = np.array([get(each.recipe, path) for each in made])
        assert (values[::4] == own).all() and len(set(values)) == 31
        scattered = np.log(np.delete(values, np.s_[::4]) / own)
        assert abs(scattered.mean()) < 0.5 and 0.5 < scattered.std() < 1.1
        assert {each.labels[path.removeprefix("terms.")] for each in made[::4]} == {f"{own:g}"}
    plain = dataclasses.replace(lane, files=Files(content=inputs["photo"], styles=(inputs["painting"],)))
    assert {get(each.recipe, "terms.style.gamma") for each in candidates(
        weights, load_references(plain.files), Tuning(plain, candidates=8))} == {3.0}
    record = {"recipe": to_json(made[1].recipe), "references": {"content_map": {}}}
    assert chosen_settings(record)["terms.tv.weight"] == f"{made[1].recipe.terms['tv'].weight:.4g}"


def test_rates_of_first_order_solvers_are_searched_too(lane):
    def searched(solver):
        found = other_weights(replace(lane.recipe, {"solver": solver}), False)
        return [path for path in found if "solver" in path]

    for solver in (Adam(), Adagrad(), RMSprop()):
        assert searched(solver) == ["solver.learning_rate"]
    assert searched(Sgd()) == ["solver.first_step"]
    assert searched(ArmijoLbfgs()) == []
