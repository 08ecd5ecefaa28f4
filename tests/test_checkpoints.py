"""Checkpoints: whole or absent, checked when read, the one before where the newest is damaged."""

import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxstyle import JaxstyleError
from jaxstyle.runs import checkpoints
from jaxstyle.runs.checkpoints import drop_checkpoints, restore_checkpoint, save_checkpoint

STATE = {"x": jnp.arange(6.0).reshape(2, 3), "key": np.arange(2, dtype=np.uint32), "count": np.int32(7),
         "none": ()}


def like(about):
    return STATE


def test_what_was_saved_comes_back(tmp_path):
    save_checkpoint(tmp_path / "state", 12, STATE, {"stage": 1, "losses": [0.5, None]})
    found = restore_checkpoint(tmp_path / "state", like)
    assert (found.step, found.about) == (12, {"stage": 1, "losses": [0.5, None]})
    assert found.state["none"] == () and found.state["count"] == 7
    assert found.state["key"].dtype == np.uint32
    np.testing.assert_array_equal(found.state["x"], STATE["x"])


def test_only_the_newest_stay_and_those_to_be_spared(tmp_path):
    for step in (1, 2, 3, 4):
        save_checkpoint(tmp_path, step, STATE, {}, spare=(1,))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "3", "4"]
    save_checkpoint(tmp_path, 4, {**STATE, "count": np.int32(8)}, {})  # again: it is replaced
    assert restore_checkpoint(tmp_path, like).state["count"] == 8
    drop_checkpoints(tmp_path)
    assert restore_checkpoint(tmp_path, like) is None


@pytest.mark.parametrize("harm", ["missing", "truncated", "flipped", "entry"])
def test_a_damaged_state_gives_way_to_the_one_before(tmp_path, harm):
    for step in (1, 2):
        save_checkpoint(tmp_path, step, {**STATE, "x": jnp.ones((200, 300)) * step}, {"step": step})
    data = max((path for path in (tmp_path / "2" / "state").rglob("*") if path.is_file()),
               key=lambda path: path.stat().st_size)
    match harm:
        case "missing":
            data.unlink()
        case "truncated":
            data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
        case "flipped":
            content = bytearray(data.read_bytes())
            content[len(content) // 2] ^= 0xFF
            data.write_bytes(content)
        case "entry":
            next((tmp_path / "2" / "entry").iterdir()).write_text("{")
    with pytest.warns(UserWarning, match="2: this state is damaged; going on from the one before"):
        found = restore_checkpoint(tmp_path, lambda about: {**STATE, "x": jnp.ones((200, 300))})
    assert found.step == 1 and found.state["x"][0, 0] == 1


def test_a_state_of_no_use_is_none_and_another_version_is_refused(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 1, STATE, {})
    assert restore_checkpoint(tmp_path, lambda about: None) is None
    monkeypatch.setattr(checkpoints, "FORMAT", "jaxstyle-checkpoint-3")
    with pytest.raises(JaxstyleError, match="another version of jaxstyle"):
        restore_checkpoint(tmp_path, like)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JaxstyleError, match="cannot be saved") as caught:
        save_checkpoint(tmp_path / "file", 1, STATE, {})
    assert "\n" not in str(caught.value)


def test_a_kill_while_saving_leaves_the_state_before(tmp_path):
    script = """
import os, sys, threading
import numpy as np
from pathlib import Path
from jaxstyle.runs.checkpoints import save_checkpoint
folder = Path(sys.argv[1])
save_checkpoint(folder, 1, np.ones(4_000_000), {})
threading.Timer(float(sys.argv[2]), lambda: os.kill(os.getpid(), 9)).start()
for step in range(2, 10_000):
    save_checkpoint(folder, step, np.full(4_000_000, float(step)), {})
"""
    run = subprocess.run([sys.executable, "-c", script, str(tmp_path), "0.7"], cwd=Path(__file__).parents[1])
    assert run.returncode == -9
    found = restore_checkpoint(tmp_path, lambda about: np.ones(4_000_000))
    assert found.step >= 1 and (found.state == found.step).all()
