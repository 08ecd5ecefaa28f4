"""What runs and sweeps say on a terminal and elsewhere, and how many lanes run at once."""

import io
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from rich.console import Console
from tiny import tiny_recipe

from jaxstyle.cli.console import progress
from jaxstyle.cli.running.job import check_output, snapshot_path
from jaxstyle.errors import JaxstyleError
from jaxstyle.sweeps.capacity import ACCELERATOR_LANES, CPU_LANES, LOCK_STEP_PIXELS, default_width, even_width


def devices(count, platform="cpu"):
    return SimpleNamespace(devices=np.array([SimpleNamespace(platform=platform)] * count))


@pytest.mark.parametrize(("count", "most", "chips", "width"), [
    (1, 8, 1, 1), (8, 8, 1, 8), (9, 8, 1, 5), (16, 8, 2, 16), (17, 8, 2, 10), (3, 1, 2, 2), (5, 64, 4, 8),
])
def test_batches_are_even(count, most, chips, width):
    assert even_width(count, most, devices(chips)) == width
    batches = -(-count // width)
    assert width % chips == 0 and width <= most * chips and batches * width >= count
    assert batches == -(-count // (most * chips))  # no more of them than need be


@pytest.mark.parametrize(("pixels", "platform", "lanes"), [
    (LOCK_STEP_PIXELS, "cpu", CPU_LANES), (LOCK_STEP_PIXELS + 1, "cpu", 1),
    (512 * 512, "gpu", ACCELERATOR_LANES), (64, "tpu", ACCELERATOR_LANES),
])
def test_lanes_at_once(pixels, platform, lanes):
    assert default_width(1000, pixels, devices(1, platform)) == even_width(1000, lanes, devices(1))
    assert default_width(1000, pixels, devices(4, platform)) <= 4 * lanes
    assert default_width(1, pixels, devices(1, platform)) == 1


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3599, "59:59"),
                                               (3600, "1:00 h"), (7384, "2:03 h")])
def test_clock(seconds, text):
    assert progress.clock(seconds) == text


def quiet():
    return Console(file=io.StringIO(), force_terminal=False, width=200)


def steps(count, losses):
    return [SimpleNamespace(stage=0, step=step, steps=count, losses={} if step == 0 else losses)
            for step in range(count + 1)]


def test_a_run_says_where_it_ends_where_nobody_watches():
    console, recipe = quiet(), tiny_recipe(steps=3)
    given = steps(3, {"total": np.array([9.0, 1.25]), "style": np.array([8.0, 1.0])})
    passed = list(progress.shown(given, recipe, console))
    assert [left is None for _, left in passed] == [True, True, False, False]  # the first step compiles
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("stage 1/1 step 3/3 ") and lines[0].endswith("total 1.25 style 1")
    assert progress.losses_line(given[0], recipe) == ""


def at(done, **changes):
    best = SimpleNamespace(value=np.array([3.0, 0.5]))
    snapshot = SimpleNamespace(images=np.zeros((2, 24, 32, 3)), memory=3 << 20, compile_seconds=1.25,
                               search=SimpleNamespace(best=best))
    return SimpleNamespace(**{"done": done, "total": 20, "finished": done // 10, "runs": (None, None),
                              "group": 0, "groups": 2, "snapshot": snapshot, **changes})


def test_a_sweep_says_its_programs_and_where_it_ends(monkeypatch):
    monkeypatch.setattr(progress, "LOG_SECONDS", 1e9)
    console = quiet()
    assert progress.show_sweep([at(4), at(10), at(20, group=1)], 2, console) == 16
    lines = console.file.getvalue().splitlines()
    assert lines[0].startswith("program 1/2: ") and lines[-2].startswith("program 2/2: ")
    assert "first 32×24 pixels · 2 lanes at once · about 3 MiB · ready in 1.2 s" in lines[0]
    assert lines[-1].startswith("lanes 2/2 done, 2 running · 100 %") and "loss 0.5 … 3" in lines[-1]
    assert jax.default_backend() not in ("cpu",) or "cores" in lines[0]


def test_names_of_pictures_on_the_way(tmp_path):
    assert snapshot_path(tmp_path / "a.b.png", 7) == tmp_path / "a.b-00007.png"


def test_outputs_are_checked_before_any_work(tmp_path):
    check_output(tmp_path / "out.png", force=False)
    (tmp_path / "out.png").write_bytes(b"")
    (tmp_path / "out-00010.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    check_output(tmp_path / "out.png", force=True)
    for path, message in ((tmp_path / "out.png", "exists already"), (tmp_path / "out.gif", "kind of file"),
                          (tmp_path / "folder.png", "is a folder"),
                          (tmp_path / "absent" / "out.png", "folder does not exist")):
        with pytest.raises(JaxstyleError, match=message):
            check_output(path, force=False)
    with pytest.raises(JaxstyleError, match=r"out-00010\.png: exists already"):
        check_output(tmp_path / "new.png", force=False, snapshots=[tmp_path / "out-00010.png"])
