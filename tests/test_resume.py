"""`stylize` killed at any moment goes on to the very picture that an undisturbed run makes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import damage, reads_damage, write_inputs

from jaxstyle import load
from jaxstyle.cli.main import main
from jaxstyle.cli.running.keeper import Keeper
from jaxstyle.images.files import read_text
from jaxstyle.runs.replay import read_manifest

STEPS = 60


@pytest.fixture
def place(tmp_path, monkeypatch, compiled_programs):
    """A folder with small pictures and a small network, as the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAXSTYLE_CACHE", str(compiled_programs))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    write_inputs(tmp_path)
    return tmp_path


def call(*options: str, out: str = "out.png") -> list[str]:
    return ["stylize", "photo.png", "painting.png", "-o", out, "--weights", "tiny.safetensors", "--recipe",
            "gatys-notebook", "--size", "24", "--steps", str(STEPS), "--terms.content.layers", "relu2_1",
            "--terms.style.layers", "relu1_1,relu2_1", "--terms.style.layer_weights", "0.5,0.5",
            "--save-every", "0", *options]


KILLED = """
import os, signal, sys
from jaxstyle.cli.main import main
from jaxstyle.cli.running.keeper import Keeper
from jaxstyle.transfer import loop
loop.CHUNK_SECONDS, state = 0.0, Keeper.state

def saved(self, at, now=False):
    state(self, at, now)
    if self.steps(at) >= int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)

Keeper.state = saved
main(sys.argv[2:])
"""


def killed(step: int, *options: str) -> None:
    """A run that is killed after some step."""
    run = subprocess.run([sys.executable, "-c", KILLED, str(step), *call(*options)], capture_output=True)
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert not Path("out.png").exists()


def pixels(path: str) -> np.ndarray:
    return load(path)


def test_killed_twice_it_ends_in_the_same_picture(place):
    assert main(call(out="whole.png")) == 0
    for step in (7, 31):
        killed(step, "--resume")
    assert main(call("--resume")) == 0
    np.testing.assert_array_equal(pixels("out.png"), pixels("whole.png"))
    assert not Path("out.png.state").exists()
    assert read_manifest("out.png")["loss"] == read_manifest("whole.png")["loss"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_picture_and_state_to_go_on_from(place, capsys, number, code):
    def interrupt(self, at, now=False):
        state(self, at, now)
        if at.step >= 5 and not now:
            os.kill(os.getpid(), number)

    state = Keeper.state
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Keeper, "state", interrupt)
        patch.setattr("jaxstyle.transfer.loop.CHUNK_SECONDS", 0.0)
        assert main(call()) == code
    assert read_manifest("out.png")["status"] == "interrupted"
    assert 5 <= read_manifest("out.png")["steps"] < STEPS
    assert "--resume goes on" in capsys.readouterr().err.replace("\n", " ")
    assert main(call()) == 2  # nothing is overwritten unasked
    assert "add --resume" in capsys.readouterr().err.replace("\n", " ")
    assert main(call("--resume")) == 0
    assert main(call(out="whole.png")) == 0
    np.testing.assert_array_equal(pixels("out.png"), pixels("whole.png"))
    assert "state" not in read_text("out.png")


@reads_damage
def test_the_state_of_another_run_is_refused_and_a_damaged_one_gives_way(place, capsys):
    killed(5)
    for options, what in ((("--terms.style.weight", "7"), "recipe"), (("--seed", "5"), "recipe")):
        assert main(call("--resume", *options)) == 2
        assert f"another {what}" in capsys.readouterr().err.replace("\n", " ")
    Path("photo.png").rename("kept.png")
    Path("photo2.png").rename("photo.png")
    assert main(call("--resume")) == 2
    assert "another picture" in capsys.readouterr().err.replace("\n", " ")
    Path("kept.png").rename("photo.png")
    damage(Path("out.png.state"))
    assert main(call("--resume")) == 0
    said = capsys.readouterr().err.replace("\n", " ")
    assert "this state is damaged" in said and "starting at the first step" in said
