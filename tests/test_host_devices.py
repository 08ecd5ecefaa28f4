"""A CPU as several devices: asked for on the command line, and the same results."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image
from tiny import fast_to_compile, write_inputs

from jaxstyle import JaxstyleError
from jaxstyle.cli.main import main
from jaxstyle.sweeps.folder import read_json
from jaxstyle.transfer.platform import lacks_bfloat16, use_host_devices


def test_only_before_anything_was_computed():
    have = jax.local_device_count()
    with pytest.raises(JaxstyleError, match=f"JAX already runs with {have};"):
        use_host_devices(have + 1)
    with pytest.raises(JaxstyleError, match="at least 1"):
        use_host_devices(0)


@pytest.mark.parametrize(("line", "lacking"), [
    ("flags\t\t: fpu avx2 fma", True), ("flags\t\t: fpu avx512_bf16", False), ("flags : amx_bf16 fma", False),
    ("Features\t: fp asimd bf16", False), ("Features\t: fp asimd", True), ("model name : unknown", False)])
def test_processors_that_have_no_bfloat16(tmp_path, line, lacking):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\npower :\n")
    assert lacks_bfloat16(tmp_path / "cpuinfo") == lacking
    assert not lacks_bfloat16(tmp_path / "none")


def command(inputs, output, *more):
    return ["sweep", inputs["photo"], inputs["painting"], "-o", str(output), "--weights", inputs["weights"],
            "--recipe", "gatys-2015", "--terms.content.layers", "relu2_1", "--terms.style.layers",
            "relu1_1,relu2_1", "--terms.style.layer_weights", "0.5,0.5", "--size", "24", "--steps", "3",
            "--vary", "terms.style.weight=1,10,100", "--lanes", "1", *more]


def test_lanes_on_several_devices_are_those_of_one(tmp_path, monkeypatch, capfd):
    inputs = write_inputs(tmp_path)
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path / "cache"))
    with fast_to_compile():
        call = command(inputs, tmp_path / "four", "--host-devices", "4")
        run = subprocess.run(
            [sys.executable, "-m", "jaxstyle.cli.main", *call],
            env={**os.environ, "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
            capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        assert main(command(inputs, tmp_path / "one")) == 0
    for i in range(3):
        four, one = (tmp_path / name / "lanes" / f"{i:04d}" for name in ("four", "one"))
        records = [read_json(folder / "manifest.json") for folder in (four, one)]
        # Three lanes need but three of the four devices.
        assert [record["lanes_in_batch"] for record in records] == [3, 1]
        assert records[0]["loss"] == records[1]["loss"]
        np.testing.assert_array_equal(np.asarray(Image.open(four / "image.png")),
                                      np.asarray(Image.open(one / "image.png")))
    assert main(command(inputs, tmp_path / "none", "--host-devices", "99")) == 2
    assert "99 devices were asked for, but JAX already runs" in capfd.readouterr().err.replace("\n", " ")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="chooses processors as Linux does")
def test_scipys_solver_runs_on_a_single_processor(tmp_path):
    made = write_inputs(tmp_path)
    program = ("import os, sys; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
               "from jaxstyle.cli.main import main; sys.exit(main(sys.argv[1:]))")
    call = ["stylize", made["photo"], made["painting"], "--weights", made["weights"], "--recipe",
            "gatys-scipy", "--terms.content.layers", "relu2_1", "--terms.style.layers", "relu1_1",
            "--terms.style.layer_weights", "1", "--size", "256", "--steps", "2", "-o",
            str(tmp_path / "out.png")]
    run = subprocess.run([sys.executable, "-c", program, *call], capture_output=True, text=True, timeout=60,
                         env={**os.environ, "JAXSTYLE_CACHE": str(tmp_path), "JAXSTYLE_OPS": "reference"},
                         check=False)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "out.png").is_file()
