"""A picture whose rows are split over eight devices is the picture that one device makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from tiny import tiny_recipe, tiny_references, tiny_weights, write_inputs

from jaxstyle import JaxstyleError, Stage, replace
from jaxstyle.cli.main import main
from jaxstyle.solvers import ScipyLbfgsb
from jaxstyle.transfer.loop import check_split, stylize_iter

PROGRAM = """
import json, sys
from collections import deque
sys.path.insert(0, sys.argv[1])
import jax
import jax.numpy as jnp
import numpy as np
from tiny import fast_to_compile, in_float64, tiny_recipe
from jaxstyle import References, replace, stylize_iter
from jaxstyle.backbones import VGG
from jaxstyle.losses import Content, Gram, TotalVariation
from jaxstyle.transfer.layout import Layout
from jaxstyle.transfer.memory import program_shapes
from jaxstyle.transfer.program import memory_needed
from jaxstyle.solvers import ArmijoLbfgs, Lbfgs
from jaxstyle.backbones.perceptual import random_weights

fast_to_compile().__enter__()
jax.config.update("jax_enable_x64", True)
devices, network = jax.devices(), VGG(blocks=((8,), (12,), (8,)), border="reflect")
weights = in_float64(random_weights(network=network))
rng = np.random.default_rng(0)
photo, painting = (jnp.asarray(rng.random((*shape, 3))) for shape in ((40, 10), (37, 12)))
references = References(content=photo, styles=(painting,))
terms = {"content": Content(layers=("relu3_1",)), "tv": TotalVariation(weight=0.1),
         "style": Gram(weight=10.0, layers=("relu1_1", "relu2_1"), layer_weights=(0.5, 0.5))}
found = {"devices": len(devices)}
for solver, sizes in ((ArmijoLbfgs(history=3), (32, 64)), (Lbfgs(history=3, max_linesearch=4), (64,))):
    recipe = tiny_recipe(5, sizes, terms=terms, solver=solver)
    one = deque(stylize_iter(weights, references, recipe), maxlen=1)[0]
    for at in stylize_iter(weights, references, recipe, devices=devices, every=2):
        if (at.stage, at.step) == (len(sizes) - 1, 2):
            saved = jax.tree.map(np.asarray, at)
    resumed = deque(stylize_iter(weights, references, recipe, devices=devices, resume=saved), maxlen=1)[0]
    shape, images = at.search.best.x.shape, 0
    for leaf in jax.tree.leaves(at.search):
        if leaf.size % np.prod(shape) == 0:
            images += 1
            assert leaf.addressable_shards[0].data.size * len(devices) == leaf.size, leaf.shape
    last = len(sizes) - 1
    advance = [next(program_shapes(weights, references, recipe, last, Layout(rows=some)).compiled())
               for some in ((), tuple(devices))]
    text = advance[1].as_text()
    found[type(solver).__name__] = {
        "shape": shape, "images": images,
        "error": float(np.abs(np.asarray(at.image) - np.asarray(one.image)).max()),
        "resumed": float(np.abs(np.asarray(resumed.image) - np.asarray(at.image)).max()),
        "loss error": abs(float(at.search.best.value) / float(one.search.best.value) - 1),
        "halos": text.count(" collective-permute("), "sums": text.count(" all-reduce("),
        "memory": [memory_needed(program) for program in advance],
    }
print(json.dumps(found))
"""


def environment(devices):
    return {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(sys.path),
            "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"}


def test_eight_devices_make_the_picture_of_one():
    run = subprocess.run([sys.executable, "-c", PROGRAM, str(Path(__file__).parent)], env=environment(8),
                         capture_output=True, text=True, timeout=600, check=False)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found.pop("devices") == 8
    for solver, of in found.items():
        assert of["shape"] == [64, 16, 3], solver
        assert of["images"] >= 4, solver  # point and gradient, now and at best
        assert of["error"] <= 1e-9 and of["loss error"] <= 1e-9, (solver, of)
        assert of["resumed"] <= 1e-9, (solver, of)
        assert of["halos"] > 0 and of["sums"] > 0, (solver, of)
        assert of["memory"][1] < 0.5 * of["memory"][0], (solver, of)


def test_the_command_line_splits_a_picture(tmp_path):
    made = write_inputs(tmp_path)
    call = ["stylize", made["photo"], made["painting"], "--weights", made["weights"], "--recipe",
            "gatys-2015", "--terms.content.layers", "relu2_1", "--terms.style.layers", "relu1_1",
            "--terms.style.layer_weights", "1", "--size", "32", "--steps", "2", "--devices", "4", "-o",
            str(tmp_path / "out.png")]
    run = subprocess.run([sys.executable, "-m", "jaxstyle.cli.main", *call], capture_output=True, text=True,
                         env={**environment(4), "JAXSTYLE_CACHE": str(tmp_path / "cache")}, check=False)
    assert run.returncode == 0, run.stderr
    assert "cpu × 4" in run.stderr
    assert (tmp_path / "out.png").is_file()


def test_mistakes_are_named(tmp_path, capsys):
    references, recipe = tiny_references(), tiny_recipe(2, (32,))
    check_split(references, recipe, 8)  # 24 × 32 pixels
    odd = replace(recipe, {"stages": (Stage(size=33, steps=1),)})
    with pytest.raises(JaxstyleError, match=r"33×25 pixels: 25 rows .* 8 devices; sizes that can: 32 and 42"):
        check_split(references, odd, 8)
    one = tuple(jax.devices()[:1])
    with pytest.raises(JaxstyleError, match="8 rows at a time or 1 devices, not both"):
        next(stylize_iter(tiny_weights(), references, replace(recipe, {"rows": 8}), devices=one))
    with pytest.raises(JaxstyleError, match="ScipyLbfgsb runs on the host"):
        check_split(references, replace(recipe, {"solver": ScipyLbfgsb()}), 2)
    made = write_inputs(tmp_path)
    assert main(["stylize", made["photo"], made["painting"], "--weights", made["weights"], "--devices", "999",
                 "-o", str(tmp_path / "out.png")]) == 2
    assert "xla_force_host_platform_device_count" in capsys.readouterr().err.replace("\n", "")


def test_one_device_of_a_mesh_is_the_plain_run():
    weights, references, recipe = tiny_weights(), tiny_references(), tiny_recipe(3)
    *_, plain = stylize_iter(weights, references, recipe)
    *_, meshed = stylize_iter(weights, references, recipe, devices=jax.devices()[:1])
    np.testing.assert_allclose(meshed.image, plain.image, atol=1e-4)
