"""Maps and doodles on the command line: found, checked, made, refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import fast_to_compile

from jaxstyle.cli.main import main
from jaxstyle.cli.sweep import Sweep
from jaxstyle.images.files import load, save
from jaxstyle.images.maps import labels_of, read_map
from jaxstyle.runs.replay import read_manifest
from jaxstyle.weights.store import write_weights

LAYERS = ("--terms.style.layers", "relu2_1,relu3_1")
FAST = ("--size", "24", "--steps", "6", "--weights", "tiny.safetensors", *LAYERS)


def halves(height, width, turned=False):
    image = np.zeros((height, width, 3), np.float32)
    image[:, : width // 2, 0], image[:, width // 2 :, 1] = 1, 1
    return image[:, ::-1] if turned else image


@pytest.fixture
def place(tmp_path, network, references, monkeypatch, compiled_programs) -> Path:
    """A folder to work in, with a photo, a painting, a map of it, and a tiny network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAXSTYLE_CACHE", str(compiled_programs))
    save("photo.png", references.content)
    save("painting.png", references.styles[0])
    save("painting_sem.png", halves(36, 32))
    write_weights(tmp_path / "tiny.safetensors", network, "vgg19")
    with fast_to_compile():
        yield tmp_path


def test_a_doodle_becomes_a_painting_of_its_own_size(place, capsys):
    save("doodle.png", halves(20, 28, turned=True))
    assert main(["doodle", "doodle.png", "painting.png", "-o", "out.png", "--steps", "6", "--weights",
                 "tiny.safetensors", *LAYERS]) == 0
    said = capsys.readouterr().err
    assert "maps: doodle.png, painting_sem.png" in said and "28×20 pixels" in said
    assert load("out.png").shape == (20, 28, 3)
    manifest = read_manifest("out.png")
    assert manifest["references"]["content"] is None and "content" not in manifest["recipe"]["terms"]
    assert [stage["size"] for stage in manifest["recipe"]["stages"]][-1] == 28
    assert main(["replay", "out.png", "-o", "again.png"]) == 0
    np.testing.assert_array_equal(load("out.png"), load("again.png"))
    Path("painting_sem.png").unlink()
    assert main(["doodle", "doodle.png", "painting.png", "-o", "x.png"]) == 2
    assert "has no map; give one, or put painting_sem.png beside it" in capsys.readouterr().err


def test_maps_beside_the_pictures_are_used_and_said(place, capsys):
    save("photo_sem.png", halves(32, 40, turned=True))
    patches = ("stylize", "photo.png", "painting.png", "--recipe", "patches", *FAST)
    assert main([*patches, "-o", "out.png"]) == 0
    first = capsys.readouterr().err.splitlines()[0]
    assert first == "maps: photo_sem.png, painting_sem.png (--no-maps leaves them aside)"
    assert read_manifest("out.png")["references"]["content_map"]["path"].endswith("photo_sem.png")
    assert main([*patches, "-o", "without.png", "--no-maps"]) == 0
    assert "maps:" not in capsys.readouterr().err
    assert "content_map" not in read_manifest("without.png")["references"]
    assert np.abs(load("out.png") - load("without.png")).max() > 0.01
    assert main([*patches, "-o", "x.png", "--no-maps", "--maps", "auto"]) == 2
    assert "--maps auto makes the maps itself" in capsys.readouterr().err


def test_automatic_maps_are_written_previewed_and_used(place, capsys):
    Path("maps").mkdir()
    auto = ("maps", "auto", "photo.png", "painting.png", "-o", "maps", "--weights", "tiny.safetensors")
    assert main([*auto, "-k", "3"]) == 0
    assert "outlines → maps/photo_sem_preview.png" in capsys.readouterr().err
    one, other = (labels_of(read_map(f"maps/{name}_sem.png").values) for name in ("photo", "painting"))
    assert 2 <= len(one) <= 3 and {label.name for label in one} == {label.name for label in other}
    assert load("maps/photo_sem.png").shape == load("photo.png").shape
    assert main([*auto]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["stylize", "photo.png", "painting.png", "--recipe", "patches", *FAST, "--maps", "auto",
                 "-o", "out.png"]) == 0
    assert "automatic maps → out-map.png, out-map-style-1.png" in capsys.readouterr().err
    assert Path("out-map.png").exists() and "content_map" in read_manifest("out.png")["references"]
    assert main(["stylize", "photo.png", "painting.png", "--maps", "auto", "-o", "x.png", "--weights",
                 "tiny.safetensors"]) == 2
    assert "for recipes that match patches" in capsys.readouterr().err


def test_sweeps_find_and_make_maps(place):
    save("photo_sem.png", halves(32, 40, turned=True))

    def planned(**options):
        sweep = Sweep(content=Path("photo.png"), painting=Path("painting.png"), output=Path("runs"),
                      recipe="patches", size=24, steps=6, weights="tiny.safetensors", **options)
        return sweep.planned({"terms.style.layers": "relu2_1,relu3_1"})[0].files

    assert planned().content_map == "photo_sem.png" and planned().style_maps == ("painting_sem.png",)
    assert planned(no_maps=True).content_map is None
    made = planned(maps="auto")
    assert made.content_map.startswith("runs/inputs/") and load(made.content_map).shape == (32, 40, 3)
    assert load(made.style_maps[0]).shape == (36, 32, 3)


def test_check_reports_coverage_and_labels_without_partner(place, capsys):
    three = halves(32, 40)
    three[:8] = [0, 0, 1]
    save("photo_sem.png", three)
    assert main(["maps", "check", "photo.png", "photo_sem.png", "painting.png", "painting_sem.png"]) == 1
    said = capsys.readouterr().err
    assert "photo_sem.png: 40×32, RGB" in said and "#0000ff     25.0%  no partner" in said
    assert "#ff0000     37.5%\n" in said and "has no partner in the maps of the styles" in said
    assert main(["maps", "check", "painting.png", "painting_sem.png"]) == 0
    assert main(["maps", "check", "photo.png"]) == 2
    assert "pictures and their maps in turn" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "message"), [
    (("doodle", "photo.png", "painting.png", "wide.png"), "differ in their number of channels"),
    (("doodle", "none.png", "painting.png"), "no such file"),
    (("maps", "auto", "photo.png"), "no painting was given"),
    (("maps", "auto", "photo.png", "photo.png"), "two pictures have the same name"),
    (("maps", "auto", "photo.png", "painting.png", "-k", "1"), "exists already"),
    (("stylize", "photo.png", "painting.png", "--recipe", "patches", "--content-map", "painting_sem.png"),
     "0 style maps for 1 style images"),
])
def test_mistakes_are_one_line(place, capsys, arguments, message):
    Image.fromarray(np.uint8([[0, 255], [255, 0]]).repeat(8, 0).repeat(8, 1)).save("wide.png")
    output = () if arguments[0] == "maps" else ("-o", "out.png")
    assert main([*arguments, *output, "--weights", "tiny.safetensors"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert message in said[-1] and said[-1].startswith("error:")
