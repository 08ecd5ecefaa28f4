"""The command line as a person uses it: pictures, manifests, replay, mistakes, interruptions."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxstyle.cli.main import COMMANDS, main
from jaxstyle.cli.stylize import Stylize
from jaxstyle.images.files import load, save
from jaxstyle.runs.replay import read_manifest
from jaxstyle.weights.store import write_weights

FAST = ("--recipe", "gram", "--size", "24", "--steps", "6")


@pytest.fixture
def place(tmp_path, network, references, monkeypatch, compiled_programs) -> Path:
    """A folder to work in, with a photo, a painting and a tiny network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAXSTYLE_CACHE", str(compiled_programs))
    save("photo.png", references.content)
    save("painting.jpg", references.styles[0])
    write_weights(tmp_path / "tiny.safetensors", network, "vgg19")
    return tmp_path


def stylize(*options: str) -> int:
    return main(["stylize", "photo.png", "painting.jpg", "--weights", "tiny.safetensors", *FAST, *options])


def test_makes_a_picture_that_says_how_it_was_made(place, capsys):
    assert stylize("-o", "out.png", "--terms.style.weight", "20", "--seed", "5") == 0
    assert load("out.png").shape == (19, 24, 3)
    manifest = read_manifest("out.png")
    assert manifest["recipe"]["terms"]["style"]["weight"] == 20.0
    assert manifest["recipe"]["seed"] == 5
    assert manifest["status"] == "finished" and manifest["steps"] == 6
    assert set(manifest["versions"]) >= {"jaxstyle", "jax", "python"}
    assert len(manifest["references"]["content"]["sha256"]) == 64
    first = capsys.readouterr().err
    assert "24×19 pixels" in first and "MiB" in first and "tiny" in first


def test_replay_is_bit_identical_also_after_the_inputs_have_moved(place, capsys):
    assert stylize("-o", "out.png") == 0
    assert main(["replay", "out.png", "-o", "again.png"]) == 0
    np.testing.assert_array_equal(load("out.png"), load("again.png"))
    Path("photo.png").rename("renamed.png")
    assert main(["replay", "out.png", "-o", "third.png"]) == 2
    assert "--content" in capsys.readouterr().err
    assert main(["replay", "out.png", "-o", "third.png", "--content", "renamed.png"]) == 0
    np.testing.assert_array_equal(load("out.png"), load("third.png"))
    assert main(["replay", "out.png", "-o", "x.png", "--content", "painting.jpg"]) == 2
    assert "SHA-256" in capsys.readouterr().err


def test_semantic_maps_are_recorded_and_replayed(place, capsys):
    for name, shape in (("map.png", (8, 10)), ("style-map.png", (9, 8))):
        sides = np.zeros((*shape, 3), np.float32)
        sides[:, : shape[1] // 2, 0], sides[:, shape[1] // 2 :, 1] = 1, 1
        save(name, sides)
    patches = ("--recipe", "patches", "--terms.style.layers", "relu2_1,relu3_1", "--steps", "30")
    maps = ("--content-map", "map.png", "--style-map", "style-map.png")
    assert stylize("-o", "plain.png", *patches) == 0
    assert stylize("-o", "out.png", *patches, *maps) == 0
    assert np.abs(load("out.png") - load("plain.png")).max() > 0.05  # by how much maps steer
    assert len(read_manifest("out.png")["references"]["style_maps"]) == 1
    assert main(["replay", "out.png", "-o", "again.png"]) == 0
    np.testing.assert_array_equal(load("out.png"), load("again.png"))
    Path("map.png").unlink()
    assert main(["replay", "out.png", "-o", "third.png"]) == 2
    assert "(--content-map)" in capsys.readouterr().err
    assert stylize("-o", "x.png", *patches, "--style-map", "style-map.png") == 2
    assert "give a content map" in capsys.readouterr().err


def test_replay_keeps_transparency(place):
    rgba = np.concatenate([load("photo.png"), np.full((32, 40, 1), 0.5)], -1)
    Image.fromarray((rgba * 255).astype(np.uint8)).save("photo.png")
    assert stylize("-o", "out.png", "--keep-alpha") == 0
    assert main(["replay", "out.png", "-o", "again.png"]) == 0
    with Image.open("out.png") as out, Image.open("again.png") as again:
        assert out.mode == again.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(out), np.asarray(again))


def test_nothing_is_overwritten_without_force(place, capsys):
    Path("out.png").write_bytes(b"precious")
    assert stylize("-o", "out.png") == 2
    assert "--force" in capsys.readouterr().err
    assert Path("out.png").read_bytes() == b"precious"
    assert stylize("-o", "out.png", "--force") == 0


def test_every_writes_snapshots(place, capsys):
    assert stylize("-o", "out.png", "--every", "2") == 0
    written = sorted(path.name for path in place.glob("out-*.png"))
    assert written == ["out-00002.png", "out-00004.png", "out-00006.png"]
    np.testing.assert_array_equal(load("out-00006.png"), load("out.png"))
    assert read_manifest("out-00002.png")["steps"] == 2
    Path("out.png").unlink()
    assert stylize("-o", "out.png", "--every", "2") == 2
    assert "out-00002.png" in capsys.readouterr().err


def bad_inputs(place: Path) -> dict[str, Path]:
    whole = (place / "photo.png").read_bytes()
    files = {"missing": None, "empty": b"", "text": b"hello", "truncated": whole[: len(whole) // 2],
             "folder": None}
    for name, data in files.items():
        if data is not None:
            (place / f"{name}.png").write_bytes(data)
    (place / "folder.png").mkdir()
    save(place / "tiny.png", np.zeros((1, 1, 3)))
    return {name: place / f"{name}.png" for name in files}


def test_bad_pictures_give_one_line_and_exit_2(place, capsys):
    for name, path in bad_inputs(place).items():
        for arguments in ([str(path), "painting.jpg"], ["photo.png", str(path)]):
            assert main(["stylize", *arguments, "--weights", "tiny.safetensors", "-o", "out.png"]) == 2, name
            lines = capsys.readouterr().err.strip().splitlines()
            assert len(lines) == 1 and str(path) in lines[0], lines
    assert not Path("out.png").exists()


@pytest.mark.parametrize(("options", "message"), [
    (("--recipe", "cubism"), "cubism"),
    (("--terms.style.wait", "3"), "terms.style.wait"),
    (("--terms.style.weight", "much"), "terms.style.weight"),
    (("--terms.style.weight",), "needs a value"),
    (("--solver", "Newton"), "Newton"),
    (("--weights", "nothing"), "nothing"),
    (("--weights", "absent.safetensors"), "absent.safetensors"),
    (("--weights", "photo.png"), "photo.png"),
    (("-o", "no/folder/out.png"), "folder"),
    (("-o", "out.bmp"), "out.bmp"),
    (("--size", "6"), "too small"),
    (("--size", "0"), "at least 1 and at most 65535 pixels, not 0"),
    (("--every", "0"), "--every"),
    (("--start", "none.png"), "none.png"),
    (("--precision", "float16"), "float16"),
])
def test_mistakes_give_one_line_and_exit_2(place, capsys, options, message):
    assert stylize("-o", "out.png", *options) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and message in lines[0]
    assert not Path("out.png").exists()


def test_starts_from_a_given_image(place):
    save("grey.png", np.full((16, 16, 3), 0.5))
    assert stylize("-o", "out.png", "--start", "grey.png") == 0
    recorded = read_manifest("out.png")
    assert recorded["references"]["start"]["path"].endswith("grey.png")
    assert recorded["recipe"]["start"]["base"] == "image"
    assert main(["replay", "out.png", "-o", "again.png"]) == 0
    np.testing.assert_array_equal(load("out.png"), load("again.png"))


def test_no_painting_is_explained(place, capsys):
    assert main(["stylize", "photo.png"]) == 2
    assert "painting" in capsys.readouterr().err


def test_replaying_a_picture_without_manifest(place, capsys):
    assert main(["replay", "photo.png"]) == 2
    assert "manifest" in capsys.readouterr().err


@pytest.mark.parametrize("command", [
    *([name] for name in COMMANDS), ["maps", "auto"], ["maps", "check"],
    *(["weights", name] for name in ("list", "fetch", "port", "verify", "normalise"))], ids=" ".join)
def test_help_fits_the_terminal_and_says_what_happens_by_default(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "72")
    with pytest.raises(SystemExit) as end:
        main([*command, "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert end.value.code == 0 and lines[0].startswith("usage: jaxstyle")
    assert max(map(len, lines[1:])) <= 72
    assert not [line for line in lines if "None" in line or "│" in line]
    if command == ["stylize"]:
        flags = {line.split()[0] for line in lines if line.startswith("  -")}
        options = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(Stylize)} - {
            "--content", "--styles", "--output"}
        assert flags >= options | {"-o", "--style-weight", "--solver", "--precision", "--rows"}


def test_recipes_lists_names_and_settings(capsys):
    assert main(["recipes"]) == 0
    assert "gatys-2015" in capsys.readouterr().err
    assert main(["recipes", "neural-style"]) == 0
    assert "--terms.content.weight 5.0" in capsys.readouterr().err


def start_long_run() -> subprocess.Popen:
    """A run that would take long, past its first steps."""
    process = subprocess.Popen(
        [sys.executable, "-m", "jaxstyle.cli.main", "stylize", "photo.png", "painting.jpg", "-o", "out.png",
         "--weights", "tiny.safetensors", "--size", "32", "--steps", "1000000", "--every", "10"],
        stderr=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "200"},
    )
    deadline = time.monotonic() + 240
    while not Path("out-00010.png").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
        time.sleep(0.05)
    return process


def test_interrupt_saves_the_best_so_far_and_exits_130(place):
    process = start_long_run()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and "Traceback" not in err, err
    assert Path("out.png").exists(), err
    assert read_manifest("out.png")["status"] == "interrupted"
    assert read_manifest("out.png")["steps"] >= 10
    assert "interrupted" in err


def test_kill_leaves_no_broken_picture(place):
    process = start_long_run()
    time.sleep(0.3)
    process.kill()
    process.communicate()
    assert not Path("out.png").exists()
    for picture in place.glob("out-*.png"):
        assert load(picture).shape[-1] == 3
