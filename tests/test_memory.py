"""What programs need is known before they run; recipes are made to fit, or an error says by how much not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import fast_to_compile, tiny_recipe, tiny_weights, write_inputs

from jaxstyle import JaxstyleError, References, load, replace
from jaxstyle.backbones import VGG, AlexNet
from jaxstyle.backbones.perceptual import random_weights
from jaxstyle.cli.main import main
from jaxstyle.runs.manifest import Files, load_references
from jaxstyle.runs.replay import read_manifest, recipe_from_json
from jaxstyle.solvers import Adam, ArmijoLbfgs
from jaxstyle.sweeps.folder import read_json
from jaxstyle.transfer import memory
from jaxstyle.transfer.loop import stylize_iter
from jaxstyle.transfer.memory import (
    changes,
    container_memory,
    fitting,
    memory_budget,
    memory_to_run,
    parse_size,
    smaller,
)
from jaxstyle.transfer.program import _advance, _begin, _targets
from jaxstyle.weights.store import load_weights, write_weights


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    with fast_to_compile():
        yield


def wide_weights():
    """Wide enough for its features to outweigh the solver's memory."""
    return random_weights(network=VGG(blocks=((12,), (16,)), border="reflect"))


def tall(height=200, width=16):
    picture = jnp.asarray(np.random.default_rng(0).random((height, width, 3), np.float32))
    return References(content=picture, styles=(picture[::-1],))


def recipe_for(size, **fields):
    return tiny_recipe(3, (size,), **fields)


@pytest.mark.parametrize(("text", "size"), [
    ("800MB", 800_000_000), ("2GB", 2 * 10**9), ("1.5GiB", 3 * 2**29), ("64 kib", 65536), ("1000", 1000),
    ("3g", 3 * 10**9),
])
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "-2GB", "0", "2 GB 3", "1TB"])
def test_bad_sizes(text):
    with pytest.raises(JaxstyleError, match="limited to a size such as"):
        parse_size(text)


def test_bands_need_less_and_running_finds_the_programs_made():
    weights, references, recipe = wide_weights(), tall(), recipe_for(200)
    whole = memory_to_run(weights, references, recipe)
    image = 200 * 16 * 3 * 4
    assert whole > image * (2 * 4 + 4)  # at least the history and two points with their gradients
    banded = replace(recipe, {"rows": 32})
    needed = memory_to_run(weights, references, banded)
    assert needed < 0.7 * whole
    steps = [np.asarray(at.search.best.value) for at in stylize_iter(weights, references, banded)]
    plain = [np.asarray(at.search.best.value) for at in stylize_iter(weights, references, recipe)]
    np.testing.assert_allclose(steps, plain, rtol=1e-4)


def test_no_program_is_made_twice(monkeypatch):
    made = []
    compile_ = jax.stages.Lowered.compile
    monkeypatch.setattr(jax.stages.Lowered, "compile", lambda self: made.append(self) or compile_(self))
    weights, references, recipe = tiny_weights(), tall(40), recipe_for(40, rows=None)
    traced = [f._cache_size() for f in (_targets, _begin, _advance)]
    memory_to_run(weights, references, recipe)
    assert len(made) == 3
    assert memory_to_run(weights, references, recipe, budget=10) > 10
    assert len(made) == 4
    list(stylize_iter(weights, references, recipe))
    assert [f._cache_size() for f in (_targets, _begin, _advance)] == [n + 1 for n in traced]


def test_what_gives_way_first(monkeypatch):
    weights, references = tiny_weights(), tall(200)
    recipe = recipe_for(200, solver=ArmijoLbfgs(history=10))
    seen = []
    while recipe is not None:
        seen.append((recipe.rows, recipe.solver.history))
        recipe = smaller(weights, references, recipe)
    assert seen == [(None, 10), (100, 10), (50, 10), (32, 10), (32, 5), (32, 3)]
    small = recipe_for(36, solver=Adam())
    assert smaller(weights, tall(36), small) is None
    other = random_weights(network=AlexNet())
    assert smaller(other, references, recipe_for(200)).solver.history == 3
    assert changes(small, small) == ""
    assert changes(recipe_for(200), recipe_for(200, rows=32, solver=ArmijoLbfgs(history=3))) == (
        "32 rows at a time and L-BFGS history 3 instead of 4, which changes the result")


def test_fitting_takes_the_first_that_fits():
    weights, references = wide_weights(), tall(128)
    recipe = recipe_for(128, solver=ArmijoLbfgs(history=4))
    whole = memory_to_run(weights, references, recipe)
    assert fitting(weights, references, recipe, whole) == (recipe, whole)
    chosen, needed = fitting(weights, references, recipe, whole - 1)
    assert chosen == replace(recipe, {"rows": 64})
    least, floor = fitting(weights, references, recipe, memory_to_run(weights, references, replace(
        recipe, {"rows": 32, "solver.history": 3})))
    assert (least.rows, least.solver.history) == (32, 3)
    assert floor < needed < whole
    with pytest.raises(JaxstyleError, match=r"at least .* MiB more than .* smaller size"):
        fitting(weights, references, recipe, floor - 2**20)


def test_budgets(monkeypatch, tmp_path):
    cpu = SimpleNamespace(platform="cpu")
    gpu = SimpleNamespace(platform="gpu", memory_stats=lambda: {"bytes_limit": 1000, "bytes_in_use": 500})
    monkeypatch.setattr(memory, "machine_memory", lambda: 1000)
    images = References(content=np.zeros((4, 5, 3), np.float32))
    assert memory_budget([cpu]) == 800
    assert memory_budget([cpu] * 4) == 200
    assert memory_budget([cpu], 2**30, [images, images]) == 2**30 - memory.PROCESS - 240
    assert memory_budget([gpu] * 2) == 400
    assert memory_budget([gpu], 700) == 700
    monkeypatch.undo()
    assert 2**26 < memory.machine_memory() < 2**50
    assert container_memory(tmp_path) == 2**62
    for name, text in {"memory.max": "900\n", "memory.current": "700\n",
                       "memory.stat": "anon 5\ninactive_file 50\n"}.items():
        (tmp_path / name).write_text(text)
    assert container_memory(tmp_path) == 250
    (tmp_path / "memory.max").write_text("max\n")
    assert container_memory(tmp_path) == 2**62


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    made = write_inputs(tmp_path_factory.mktemp("inputs"))
    write_weights(Path(made["weights"]), wide_weights(), "vgg19")
    return made


OPTIONS = ("--recipe", "gatys-2015", "--terms.content.layers", "relu2_1", "--terms.style.layers",
           "relu1_1,relu2_1", "--terms.style.layer_weights", "0.5,0.5", "--size", "96", "--steps", "2",
           "--start.noise", "0.3", "--solver", "ArmijoLbfgs", "--solver.history", "3")


def test_command_line(inputs, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(memory, "PROCESS", 0)
    call = ["stylize", inputs["photo"], inputs["painting"], "--weights", inputs["weights"], *OPTIONS]
    assert main([*call, "-o", str(tmp_path / "free.png")]) == 0
    assert "to fit" not in capsys.readouterr().err
    references = load_references(Files(content=inputs["photo"], styles=(inputs["painting"],)))
    recipe = recipe_from_json(read_manifest(tmp_path / "free.png")["recipe"])
    whole = memory_to_run(load_weights(inputs["weights"]), references, recipe)
    whole += sum(image.nbytes for image in jax.tree.leaves(references))
    assert main([*call, "-o", str(tmp_path / "fit.png"), "--max-memory", str(whole - 1000)]) == 0
    rows = read_manifest(tmp_path / "fit.png")["recipe"]["rows"]
    assert rows in (36, 32)
    assert f"{rows} rows at a time" in capsys.readouterr().err
    assert main(["replay", str(tmp_path / "fit.png"), "-o", str(tmp_path / "again.png")]) == 0
    assert "to fit" not in capsys.readouterr().err
    assert read_manifest(tmp_path / "again.png")["recipe"]["rows"] == rows
    np.testing.assert_array_equal(load(tmp_path / "again.png"), load(tmp_path / "fit.png"))
    for bad, said in (("100kB", "more than the"), ("lots", "not 'lots' (--max-memory)")):
        assert main([*call, "-o", str(tmp_path / "no.png"), "--max-memory", bad]) == 2
        error = capsys.readouterr().err.strip().splitlines()
        assert len(error) == 1 and said in error[0]
    sweep = ["sweep", inputs["photo"], inputs["painting"], "--weights", inputs["weights"], *OPTIONS,
             "--vary", "terms.style.weight=1,10", "-o", str(tmp_path / "run"), "--max-memory",
             str(whole - 1000)]
    assert main(sweep) == 0
    assert "rows at a time" in capsys.readouterr().err
    assert read_json(tmp_path / "run" / "lanes" / "0001" / "manifest.json")["recipe"]["rows"] in (36, 32)
