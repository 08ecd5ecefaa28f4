"""`jaxstyle weights …` from the command line: what it prints, writes and returns."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from jaxstyle.backbones import VGG, parameter_shapes
from jaxstyle.cli.main import main
from jaxstyle.weights.store import load_weights, read_notes

NARROW = ((5, 6), (7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


@pytest.fixture
def source(tmp_path):
    """A narrow VGG-19 for 0..255 as a NumPy archive."""
    rng = np.random.default_rng(0)
    arrays = {}
    for name, shape in parameter_shapes(VGG(blocks=NARROW)).items():
        scale = (2 / np.prod(shape[:3])) ** 0.5 / (60 if name == "conv1_1" else 1)
        arrays[f"{name}/weight"] = rng.normal(0, scale, shape).astype(np.float32)
        arrays[f"{name}/bias"] = rng.normal(0, 0.1, shape[-1]).astype(np.float32)
    np.savez(tmp_path / "mine.npz", **arrays)
    return tmp_path / "mine.npz"


def run(capsys, *arguments):
    """Exit code and everything printed."""
    code = main(["weights", *map(str, arguments)])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def test_port_list_verify_use(cache, source, capsys):
    code, text = run(capsys, "port", source, "--licence", "CC0")
    assert code == 0 and "use it with --weights mine" in text and "BGR 0..255" in text
    assert load_weights("mine").network.blocks == NARROW
    code, text = run(capsys, "list")
    lines = {line.split()[0]: line for line in text.splitlines() if line}
    assert code == 0 and "cached" in lines["mine"] and "CC0" in lines["mine"]
    assert "to fetch" in lines["vgg19"] and "made here" in lines["random"]
    code, text = run(capsys, "verify", "mine")
    assert code == 0 and "BAD" not in text and text.count("ok") >= 4
    (cache / "mine.safetensors").write_bytes(b"broken")
    code, text = run(capsys, "verify", "mine")
    assert code == 2 and "mine.safetensors: not a complete safetensors file" in text
    assert "damaged" in run(capsys, "list")[1]


def test_port_overwrites_only_when_told(cache, source, capsys):
    assert run(capsys, "port", source)[0] == 0
    code, text = run(capsys, "port", source)
    assert code == 2 and "exists already" in text
    assert run(capsys, "port", source, "--force", "--border", "reflect")[0] == 0
    assert load_weights("mine").network.border == "reflect"
    code, text = run(capsys, "port", source, "-o", cache / "mine.bin")
    assert code == 2 and "must end in .safetensors" in text


def test_a_doubtful_port_is_said(cache, source, capsys):
    """Filters for 0..255 that are given values around zero see a uniform picture."""
    with np.load(source) as archive:
        arrays = dict(archive)
    arrays["conv1_1/bias"] += 1000
    np.savez(source, **arrays)
    code, text = run(capsys, "port", source)
    assert code == 0 and "warning: 0" in text and "0..255 is given 0..1" in text
    assert run(capsys, "verify", "mine")[0] == 2


def test_normalise(cache, source, capsys, tmp_path):
    run(capsys, "port", source)
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(1)
    for i in range(2):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(photos / f"{i}.png")
    code, text = run(capsys, "normalise", "mine", "--photos", photos, "--size", "32")
    assert code == 0 and "normalised on 2 photos" in text
    notes = read_notes(cache / "mine-normalised.safetensors")
    assert notes["normalised"] == "mean activation 1 over 2 photos at 32 pixels"
    assert notes["normalised_from"] == load_weights("mine").sha256
    assert run(capsys, "verify", "mine-normalised")[0] == 0
    code, text = run(capsys, "normalise", "mine", "--photos", tmp_path / "absent")
    assert code == 2 and "exists already" in text
    code, text = run(capsys, "normalise", "random", "--photos", tmp_path / "absent")
    assert code == 2 and "no such folder" in text


def test_errors_are_one_line(cache, capsys, tmp_path):
    for arguments, words in (
        (("fetch", "vgg18"), "no weights called 'vgg18' to fetch"),
        (("fetch", "vgg19", "--file", tmp_path / "absent.h5"), "no such file"),
        (("port", tmp_path / "absent.h5"), "no such file; check the name"),
        (("verify", "vgg19"), "jaxstyle weights fetch vgg19"),
    ):
        code, text = run(capsys, *arguments)
        assert code == 2 and words in text and len(text.strip().splitlines()) == 1, text
