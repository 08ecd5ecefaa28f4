"""`stylize` killed at any moment goes on to the very picture that an undisturbed run makes."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tiny import damage, write_inputs

from jaxstyle import load
from jaxstyle.cli.main import main
from jaxstyle.cli.render import Keeper
from jaxstyle.images.files import read_text
from jaxstyle.runs.replay import read_manifest

STEPS = 600


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


def start(*options: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "jaxstyle.cli.main", *call(*options)],
                            stderr=subprocess.PIPE, text=True)


def until_saved(process: subprocess.Popen) -> None:
    """Waits until a state is there."""
    while process.poll() is None and not any(path.name.isdigit() for path in Path().glob("out.png.state/*")):
        time.sleep(0.05)


def pixels(path: str) -> np.ndarray:
    return load(path)


def test_killed_at_random_moments_it_ends_in_the_same_picture(place):
    assert main(call(out="whole.png")) == 0
    moments = random.Random(3)
    for _ in range(2):
        process = start("--resume")
        until_saved(process)
        time.sleep(moments.uniform(0, 0.3))
        process.kill()
        process.communicate()
        assert not Path("out.png").exists()
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


def test_the_state_of_another_run_is_refused_and_a_damaged_one_gives_way(place, capsys):
    process = start()
    until_saved(process)
    process.kill()
    process.communicate()
    for options, what in ((("--terms.style.weight", "7"), "recipe"), (("--seed", "5"), "recipe")):
        assert main(call("--resume", *options)) == 2
        assert f"another {what}" in capsys.readouterr().err.replace("\n", " ")
    Path("photo.png").rename("kept.png")
    Path("photo2.png").rename("photo.png")
    assert main(call("--resume")) == 2
    assert "another picture" in capsys.readouterr().err.replace("\n", " ")
    Path("kept.png").rename("photo.png")
    damage(Path("out.png.state"))
    with pytest.warns(UserWarning, match="damaged"):
        assert main(call("--resume")) == 0
    assert "starting at the first step" in capsys.readouterr().err.replace("\n", " ")
