"""`jaxstyle video` as a person uses it: files, sound, interruptions, scene cuts, replay, mistakes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny
from clips import decoded, moving, packets, write_clip
from PIL import Image

from jaxstyle.cli.main import main
from jaxstyle.images.files import load
from jaxstyle.transfer import program
from jaxstyle.video import optimise
from jaxstyle.video import recipe as recipes
from jaxstyle.video.files.frames import Frame
from jaxstyle.video.sequence import Before, walk
from jaxstyle.video.steady import paint_fast

SETTINGS = ("--terms.content.layers", "relu2_1", "--terms.style.layers", "relu1_1,relu2_1",
            "--terms.style.layer-weights", "0.5,0.5", "--stages.1.steps", "2", "--steps", "2", "--seed", "3")


@pytest.fixture
def place(tmp_path, monkeypatch, compiled_programs) -> Path:
    """A folder to work in, with a clip with sound, a painting and a tiny network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAXSTYLE_CACHE", str(compiled_programs))
    tiny.write_inputs(tmp_path)
    write_clip(tmp_path / "clip.mp4", moving(5, 32, 48), rate=Fraction(12), audio=0.5)
    with tiny.fast_to_compile():
        yield tmp_path


def arguments(*options: str, source: str = "clip.mp4") -> list[str]:
    return ["video", source, "painting.png", "--weights", "tiny.safetensors", "--size", "32", *SETTINGS,
            *options]


def video(*options: str, source: str = "clip.mp4") -> int:
    return main(arguments(*options, source=source))


def frames_of(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in sorted(folder.glob("[0-9]*.png"))]


def test_a_video_with_sound_measured_and_replayed(place, capsys):
    assert video("-o", "out.mp4", "--measure") == 0
    times, images = decoded(place / "out.mp4")
    assert times == [Fraction(i, 12) for i in range(5)] and images[0].shape == (20, 32, 3)
    sounds = [[data for data, _ in packets(place / name)] for name in ("clip.mp4", "out.mp4")]
    assert len(sounds[0]) > 20 and sounds[0] == sounds[1]
    assert not (place / "out.mp4.part").exists()
    assert load("out-strip.png").shape == (2 * 20 + 4, 5 * 36 - 4, 3)
    record = json.loads((place / "out-flicker.json").read_text())
    assert len(record["frames"]) == 4 and 0 < record["mean"] < 0.5 and record["per_second"][0]["second"] == 0
    assert load("out-flicker.png").shape[2] == 3
    said = capsys.readouterr().err
    assert "32×20 pixels" in said and "5 frames at 12 per second" in said and "flicker" in said
    assert "frames/s" in said and "with sound" in said
    assert main(["replay", "out.mp4", "-o", "again.mp4"]) == 0
    for one, other in zip(images, decoded(place / "again.mp4")[1], strict=True):
        np.testing.assert_array_equal(one, other)
    (place / "painting.png").rename(place / "moved.png")
    assert main(["replay", "out.mp4", "-o", "third.mp4"]) == 2 and "style" in capsys.readouterr().err


def test_a_folder_of_frames_and_its_replay(place, capsys):
    assert video("-o", "frames", "--every", "2", "--no-sound") == 0
    made = frames_of(place / "frames")
    assert len(made) == 3 and made[0].shape == (21, 32, 3)  # no codec asks for even sizes
    manifest = json.loads((place / "frames/manifest.json").read_text())
    assert manifest["status"] == "finished" and manifest["video"]["every"] == 2
    assert sorted(path.name for path in (place / "frames").iterdir()) == [
        "000001.png", "000002.png", "000003.png", "manifest.json"]
    assert main(["replay", "frames", "-o", "again"]) == 0
    for one, other in zip(made, frames_of(place / "again"), strict=True):
        np.testing.assert_array_equal(one, other)
    assert video("-o", "frames", "--every", "2", "--no-sound") == 2 and "finished" in capsys.readouterr().err
    assert main(["replay", "frames", "-o", "again.mp4"]) == 2 and "same kind" in capsys.readouterr().err
    # a folder of frames is a source, too
    assert video("-o", "twice.mkv", "--fps", "6", source="frames") == 0
    assert [round(float(t), 2) for t in decoded(place / "twice.mkv")[0]] == [0, 0.17, 0.33]


def test_killed_at_any_moment_it_goes_on_with_the_same_bits(place, monkeypatch, capsys):
    assert video("-o", "whole") == 0
    wanted = frames_of(place / "whole")
    real, made = optimise.paint_frame, []

    def dies(*given):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(1)
        return real(*given)

    monkeypatch.setattr("jaxstyle.video.request.paint_frame", dies)
    assert video("-o", "parts.mp4") == 130
    assert "the same command goes on" in capsys.readouterr().err
    part = place / "parts.mp4.part"
    assert not (place / "parts.mp4").exists() and len(frames_of(part)) <= 3
    assert not list(place.glob(".jaxstyle*"))
    (part / "000002.png").write_bytes((part / "000002.png").read_bytes()[:50])  # damaged: is made again
    monkeypatch.setattr("jaxstyle.video.request.paint_frame", real)
    assert video("-o", "parts.mp4", "--terms.style.weight", "3") == 2
    assert "other settings" in capsys.readouterr().err
    assert video("-o", "parts.mp4") == 0 and "going on after frame" in capsys.readouterr().err
    assert video("-o", "straight.mp4") == 0
    for one, other in zip(*(decoded(place / name)[1] for name in ("parts.mp4", "straight.mp4")), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(wanted) == 5


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_process_that_is_killed_leaves_whole_frames(place):
    command = [sys.executable, "-m", "jaxstyle.cli.main", *arguments("-o", "killed"), "--steps", "40"]
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            if (place / "killed/000002.png").exists() or running.poll() is not None:
                break
            time.sleep(0.05)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    for path in (place / "killed").glob("[0-9]*.png"):
        assert load(path).shape == (21, 32, 3)
    assert json.loads((place / "killed/manifest.json").read_text())["status"] == "running"


def test_a_scene_cut_starts_afresh(tmp_path):
    one, other = moving(3, 48, 64), moving(3, 48, 64, seed=9)
    frames = [Frame(i, Fraction(i, 24), image) for i, image in enumerate(one + [255 - x for x in other])]
    seen = []

    def paint(image, earlier):
        seen.append([one is not None for one in earlier])
        return image, {}

    from jaxstyle.video.estimate import flow_source
    found = list(walk(frames, paint, flow_source(None, tmp_path), Before((1, 2), 0.4), measure=True))
    assert [painted.cut for painted in found] == [False, False, False, True, False, False]
    assert seen == [[False, False], [True, False], [True, True], [False, False], [True, False], [True, True]]
    assert [painted.flicker is None for painted in found] == [True, False, False, True, False, False]
    assert all(painted.consistent > 0.6 for painted in found[1:3])


def test_programs_compile_once_per_video():
    small = recipes.VideoRecipe(first=tiny.tiny_recipe(2), offsets=(1, 2),
                                following=recipes.consistent(tiny.tiny_recipe(2), 50.0, 2))
    styles, images = tiny.tiny_references().styles, moving(6, 24, 32)
    weights = tiny.tiny_weights()
    earlier: list = []
    sizes = []
    with tiny.fast_to_compile():
        for index, image in enumerate(images):
            zero = np.zeros((24, 32, 2), np.float32)
            known = [optimise.Earlier(images[index - n], earlier[-n], zero, zero) if n <= index else None
                     for n in (1, 2)]
            earlier.append(optimise.paint_frame(weights, styles, small, image, known)[0])
            sizes.append([of._cache_size() for of in (program._targets, program._begin, program._advance)])
    assert sizes[1] == [size + 1 for size in sizes[0]] and sizes[2:] == [sizes[1]] * 4


def test_the_temporal_term_holds_still_and_settled_runs_stop():
    references = tiny.tiny_references(dtype=np.float32)
    small = tiny.tiny_recipe(2, sizes=(32,))
    recipe = recipes.consistent(small, 1e5, 12)
    image = np.rint(np.asarray(references.content) * 255).astype(np.uint8)
    zero = np.zeros((24, 32, 2), np.float32)
    loose, tight = (recipes.VideoRecipe(first=recipe, following=following) for following in (
        recipes.consistent(small, weight, 12) for weight in (0.0, 1e5)))
    before = optimise.Earlier(image, 255 - image, zero, zero)
    moved = []
    for one in (loose, tight):
        result, _ = optimise.paint_frame(tiny.tiny_weights(), references.styles, one, image, [before])
        moved.append(np.abs(result.astype(int) - (255 - image)).mean())
    assert moved[1] < 0.3 * moved[0]
    losses = [10, 5, 2, 1.99995, 1.9999]
    assert optimise.settled(losses, 2, 1e-3) and not optimise.settled(losses, 3, 1e-3)
    assert not optimise.settled(losses, 2, 0.0) and not optimise.settled(losses[:2], 2, 1.0)
    run = optimise.run_frame(tiny.tiny_weights(), references, tiny.tiny_recipe(40), 1.0, 4)
    assert run.step == 8


def test_several_passes_meet_in_the_middle(place, monkeypatch):
    monkeypatch.setitem(recipes.__dict__, "MULTI_PASS", None)
    from jaxstyle.pytrees import replace
    three = replace(recipes.QUICK, {"passes": 3})
    monkeypatch.setattr(recipes, "catalogue", lambda: {"three": (three, "")})
    assert video("-o", "passes", "--recipe", "three") == 0
    made = frames_of(place / "passes")
    assert len(made) == 5 and made[0].std() > 1
    assert sorted(path.name for path in (place / "passes").iterdir())[-2:] == ["000005.png", "manifest.json"]


def test_a_fast_network_is_held_still():
    def noisy(frame):
        key = jax.random.key((frame[0, 0, 0] * 1e6).astype(int))
        return frame * 0.8 + 0.1 + 0.1 * jax.random.normal(key, frame.shape)

    frames = moving(8, 48, 64)
    backward = np.broadcast_to(np.float32([2, 0]), (48, 64, 2))
    flicker = {}
    for strength in (0.0, 0.8):
        before, changes = None, []
        for index, image in enumerate(frames):
            known = optimise.Earlier(frames[index - 1], before, backward, -backward)
            result, _ = paint_fast(noisy, strength, image, [] if before is None else [known])
            if before is not None:
                changes.append(np.abs(result[:, :60].astype(int) - before[:, 2:62]).mean())
            before = result
        flicker[strength] = np.mean(changes[2:])
    assert flicker[0.8] < 0.6 * flicker[0.0]


@pytest.mark.parametrize(("options", "message"), [
    (("-o", "out.gif"), "cannot write this kind"), (("-o", "no/out.mp4"), "does not exist"),
    (("-o", "clip.mp4"), "the video itself"), (("-o", "o.mp4", "--start", "1:xx"), "is no time"),
    (("-o", "o.mp4", "--start", "9"), "no frame between"), (("-o", "o.mp4", "--every", "0"), "at least 1"),
    (("-o", "o.mp4", "--crf", "99"), "crf"), (("-o", "o.mp4", "--size", "2"), "at least 16"),
    (("-o", "o.mp4", "--recipe", "none"), "video recipe 'none' is not one of"),
    (("-o", "o.mp4", "--fps", "0"), "--fps"),
    (("-o", "o.mp4", "--flow", "flows"), "flows/backward_2_1.flo"),
    (("-o", "o.mp4", "--terms.styel.weight", "1"), "styel"),
    (("-o", "full"), "holds no video by jaxstyle"), (("-o", "painting"), "is a file"),
])
def test_mistakes_are_one_line_and_leave_nothing(place, options, message, capsys):
    (place / "full").mkdir()
    (place / "full/notes.txt").write_text("mine")
    shutil.copy(place / "photo.png", place / "painting")
    assert video(*options) == 2
    said = capsys.readouterr().err
    assert message in said.replace("\n", " ") and "Traceback" not in said
    assert not (place / "o.mp4").exists() and (place / "full/notes.txt").exists()
    assert not list(place.glob(".jaxstyle*"))


def test_times_are_read_as_people_write_them():
    from jaxstyle.cli.video import rate
    from jaxstyle.cli.video import time as read
    assert [read(text) for text in ("12", "0:12", "1:02:03.5")] == [12, 12, Fraction(7447, 2)]
    assert [rate(number) for number in (24, 23.976, 29.97, 12.5)] == [
        24, Fraction(24000, 1001), Fraction(30000, 1001), Fraction(25, 2)]
