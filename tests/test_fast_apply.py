"""Trained networks in use: sizes, bands, blends, regions, files and folders, export, bad input."""

from __future__ import annotations

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fast_tiny import picture
from safetensors.numpy import load_file, save_file
from tiny import fast_to_compile

from jaxstyle.cli.main import main
from jaxstyle.errors import JaxstyleError
from jaxstyle.fast.apply import Look, pictures, restyled, shares_at
from jaxstyle.fast.card import CARD_FILE, Card, read_card
from jaxstyle.fast.export import exported
from jaxstyle.fast.model import Model, read_model, shares, style_names, write_model
from jaxstyle.fast.network import StyleNetwork, checked, doubled, stylized
from jaxstyle.fast.tiles import stylized_in_bands
from jaxstyle.images.files import load, save
from jaxstyle.ops.colors.spaces import split

NETWORKS = {
    "conditional": {"styles": 2},
    "transposed": {"norm": "instance", "upsample": "transposed", "padding": "zero", "output_norm": True,
                   "alignment": "tensorflow"},
    "batch": {"norm": "batch", "upsample": "bilinear", "padding": "replicate", "output": "sigmoid"},
}
MORE_NETWORKS = {"centred": {"norm": "instance", "upsample": "transposed", "output": "linear"}}


@pytest.fixture(scope="module", autouse=True)
def quick():
    with fast_to_compile():
        yield


def made(kind="conditional", width=2):
    """A model with random numbers everywhere."""
    network = StyleNetwork(width=width, depth=1, **{**NETWORKS, **MORE_NETWORKS}[kind])
    variables = network.init(jax.random.key(0), jnp.zeros((8, 8, 3)))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: leaf + 0.3 * rng.standard_normal(leaf.shape, np.float32),
                          variables["params"])
    styles = ("starry", "wave")[:network.styles]
    return Model(network, params, dict(variables.get("statistics", {})), Card(
        name="made", styles=styles, licence="CC0", recipe={"steps": 3}, losses={"held_out": {"total": 1.5}}))


def plain(**fields):
    return Look(**{"blend": {}, "regions": {}, **fields})


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 8)])
def test_any_size_gives_its_own_size(kind, size):
    y = restyled(made(kind), np.full((*size, 3), 0.3, np.float32), plain())
    assert y.shape == (*size, 3)
    assert np.isfinite(y).all()


@pytest.mark.parametrize("kind", NETWORKS)
def test_bands_equal_the_whole_image(kind):
    model = made(kind)
    image = np.random.default_rng(1).random((105, 21, 3), np.float32)
    masks = [np.ones(model.network.styles, np.float32) / model.network.styles]
    if kind == "conditional":
        share = np.random.default_rng(2).random((105, 21, 2)).astype(np.float32)
        masks.append(share / share.sum(-1, keepdims=True))
    for mask in masks:
        whole = stylized(model.network, model.params, image, mask, model.statistics)
        banded = stylized_in_bands(model.network, model.params, image, mask, 32, model.statistics)
        assert np.ptp(whole) > 0.1
        np.testing.assert_allclose(banded, whole, atol=2e-5)


def test_little_memory_means_bands_with_the_same_result():
    model, image = made(), picture(0, 96, 24)
    np.testing.assert_allclose(restyled(model, image, plain(memory=1)), restyled(model, image, plain()),
                               atol=2e-5)


def test_blending_lies_between_the_styles():
    model, image = made(), picture(0)
    a, b, half = (stylized(model.network, model.params, image, jnp.asarray(share))
                  for share in ([1.0, 0.0], [0.0, 1.0], [0.5, 0.5]))
    assert float(jnp.abs(a - b).max()) > 0.05
    mixed = jax.tree.map(lambda leaf: leaf.mean(0, keepdims=True) if leaf.ndim == 2 else leaf, model.params)
    expected = stylized(model.network.clone(styles=1), mixed, image)
    np.testing.assert_allclose(half, expected, atol=1e-5)


def test_regions_show_each_style_where_its_mask_is():
    model = made()
    mask = np.zeros((8, 8), np.float32)
    mask[:, :4] = 1
    look = plain(regions={"wave": mask})
    share = np.asarray(shares_at(model, look, (32, 32)))
    np.testing.assert_allclose(share.sum(-1), 1, atol=1e-6)
    np.testing.assert_allclose(share[:, :10, 1], 1, atol=1e-6)
    np.testing.assert_allclose(share[:, 22:, 0], 1, atol=1e-6)
    everywhere = restyled(model, picture(0), plain(regions={"wave": np.ones((4, 4), np.float32)}))
    np.testing.assert_allclose(everywhere, restyled(model, picture(0), plain(blend={"wave": 1.0})), atol=1e-5)


def test_strength_and_colours():
    model, image = made(), picture(0)
    np.testing.assert_allclose(restyled(model, image, plain(strength=0.0)), image, atol=1e-6)
    full = restyled(model, image, plain())
    np.testing.assert_allclose(restyled(model, image, plain(strength=0.25)), image + 0.25 * (full - image),
                               atol=1e-6)
    soft = 0.4 + 0.2 * image  # far from where colours are clipped
    low = dataclasses.replace(model, params={**model.params, "out": jax.tree.map(lambda x: 0.1 * x,
                                                                                 model.params["out"])})
    kept, styled = (restyled(low, soft, plain(keep_colors=keep)) for keep in (True, False))
    (light, colour), (as_styled, _), (_, as_photo) = (split(jnp.asarray(x)) for x in (kept, styled, soft))
    np.testing.assert_allclose(light, as_styled, atol=1e-3)
    np.testing.assert_allclose(colour, as_photo, atol=1e-3)


def test_linear_enlargement_equals_a_loop():
    x = np.random.default_rng(0).random((3, 4, 2))
    expected = np.zeros((6, 8, 2))
    for i in range(6):
        for j in range(8):
            for weight, a, b in ((0.5625, 0, 0), (0.1875, 1, 0), (0.1875, 0, 1), (0.0625, 1, 1)):
                row = np.clip(i // 2 + a * (1 if i % 2 else -1), 0, 2)
                column = np.clip(j // 2 + b * (1 if j % 2 else -1), 0, 3)
                expected[i, j] += weight * x[row, column]
    np.testing.assert_allclose(doubled(jnp.asarray(x)), expected, atol=1e-6)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("place", ["model.safetensors", "folder"])
def test_files_and_folders_bring_the_model_back(tmp_path, kind, place):
    model = made(kind)
    write_model(tmp_path / place, model)
    found = read_model(tmp_path / place)
    assert found.network == model.network
    assert found.card == model.card
    assert read_card(tmp_path / place) == model.card
    for a, b in zip(jax.tree.leaves(found.params), jax.tree.leaves(model.params), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(restyled(found, picture(0), plain()), restyled(model, picture(0), plain()))


def test_half_precision_halves_the_file_and_keeps_the_picture(tmp_path):
    model = made(width=8)
    write_model(tmp_path / "a.safetensors", model)
    write_model(tmp_path / "b.safetensors", model, "float16")
    sizes = [(tmp_path / name).stat().st_size for name in ("a.safetensors", "b.safetensors")]
    assert sizes[1] < 0.55 * sizes[0]
    small = read_model(tmp_path / "b.safetensors")
    np.testing.assert_allclose(restyled(small, picture(0), plain()), restyled(model, picture(0), plain()),
                               atol=0.02)


def test_bad_models_end_in_clear_errors(tmp_path):
    model = made()
    path = tmp_path / "model.safetensors"
    write_model(path, model)
    with pytest.raises(JaxstyleError, match="no such model"):
        read_model(tmp_path / "missing.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(path.read_bytes()[:-20])
    with pytest.raises(JaxstyleError, match="not a whole safetensors file"):
        read_model(tmp_path / "cut.safetensors")
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    (tmp_path / "flipped.safetensors").write_bytes(data)
    with pytest.raises(JaxstyleError, match="damaged"):
        read_model(tmp_path / "flipped.safetensors")
    save_file({"a": np.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(JaxstyleError, match="is no style network"):
        read_model(tmp_path / "other.safetensors")
    header = {"format": "jaxstyle-fast-network", "format_version": "2"}
    save_file(load_file(path), tmp_path / "newer.safetensors", header)
    with pytest.raises(JaxstyleError, match="newer version"):
        read_model(tmp_path / "newer.safetensors")
    (tmp_path / "empty").mkdir()
    with pytest.raises(JaxstyleError, match=f"holds no {CARD_FILE}"):
        read_model(tmp_path / "empty")
    write_model(tmp_path / "folder", model)
    card = json.loads((tmp_path / "folder" / CARD_FILE).read_text())
    (tmp_path / "folder" / CARD_FILE).write_text(json.dumps({**card, "content_sha256": "0"}))
    with pytest.raises(JaxstyleError, match="damaged"):
        read_model(tmp_path / "folder")
    (tmp_path / "folder" / CARD_FILE).write_text("{")
    with pytest.raises(JaxstyleError, match="damaged"):
        read_model(tmp_path / "folder")


def test_bad_looks_end_in_clear_errors():
    model = made()
    with pytest.raises(JaxstyleError, match="no style 'scream'; it has starry, wave"):
        shares(model, {"scream": 1.0})
    with pytest.raises(JaxstyleError, match="every share of the blend is 0"):
        shares(model, {"wave": 0.0})
    with pytest.raises(JaxstyleError, match="shares are not negative"):
        shares(model, {"wave": -1.0})
    with pytest.raises(JaxstyleError, match=r"strength is 1\.5"):
        restyled(model, picture(0), plain(strength=1.5))
    with pytest.raises(JaxstyleError, match="no style 'scream'"):
        restyled(model, picture(0), plain(regions={"scream": np.ones((2, 2))}))
    with pytest.raises(JaxstyleError, match="holds one style, not 2"):
        checked(StyleNetwork(styles=2, norm="batch"))


def test_names_and_patterns(tmp_path):
    for name in ("b.png", "a.png", "c.jpg"):
        save(tmp_path / name, picture(0, 8, 8))
    (tmp_path / "notes.txt").write_text("none")
    assert [path.name for path in pictures([str(tmp_path)])] == ["a.png", "b.png", "c.jpg"]
    assert [path.name for path in pictures([f"{tmp_path}/*.png", f"{tmp_path}/a.png"])] == ["a.png", "b.png"]
    with pytest.raises(JaxstyleError, match="holds no pictures"):
        pictures([f"{tmp_path}/*.webp"])
    assert style_names(["x/wave.jpg", "y/wave.png", "z/art.png"]) == ("wave", "wave_2", "art")


def test_the_command_restyles_a_folder_and_leaves_out_what_is_broken(tmp_path, capsys):
    write_model(tmp_path / "model.safetensors", made())
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        save(tmp_path / "in" / name, picture(0))
    model, folder, out = str(tmp_path / "model.safetensors"), str(tmp_path / "in"), tmp_path / "out"
    assert main(["apply", model, folder, "-o", str(out), "--blend", "starry=0.6,wave=0.4"]) == 0
    share = {"starry": 0.6, "wave": 0.4}
    expected = restyled(made(), load(tmp_path / "in" / "a.png"), plain(blend=share))
    np.testing.assert_allclose(load(out / "a.png"), expected, atol=0.6 / 255)
    assert main(["apply", model, folder, "-o", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    (tmp_path / "in" / "c.png").write_bytes(b"broken")
    assert main(["apply", model, folder, "-o", str(out), "--force"]) == 2
    said = capsys.readouterr().err
    assert "left out" in said
    assert "1 of 3 pictures" in said
    for wrong, message in ((["--blend", "moon=1"], "no style 'moon'"), (["--blend", "wave"], "STYLE=SHARE"),
                           (["--blend", "wave=0"], "every share"), (["--strength", "2"], "strength is 2"),
                           (["--style", "wave", "--blend", "wave=1"], "not both"),
                           (["--region", "wave"], "MASK.png=STYLE")):
        assert main(["apply", model, folder, "-o", str(tmp_path / "out2"), *wrong]) == 2
        assert message in capsys.readouterr().err
    assert main(["apply", "nothing", folder, "-o", str(out)]) == 2
    assert "no model called 'nothing'" in capsys.readouterr().err


def test_the_command_lists_models(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path))
    (tmp_path / "models").mkdir()
    write_model(tmp_path / "models" / "mine.safetensors", made())
    assert main(["models"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("mine"))
    assert "starry, wave" in line
    assert "CC0" in line


@pytest.mark.parametrize("kind", [*NETWORKS, *MORE_NETWORKS])
def test_onnx_is_read_back_equal(tmp_path, kind):
    pytest.importorskip("onnxruntime")
    model = made(kind)
    assert exported(model, shares(model), tmp_path / "m.onnx") <= 1e-4
    with pytest.raises(JaxstyleError, match="exists already"):
        exported(model, shares(model), tmp_path / "m.onnx", overwrite=False)


def test_stablehlo_is_read_back_equal(tmp_path):
    assert exported(made(), shares(made(), {"wave": 1.0}), tmp_path / "m.stablehlo") <= 1e-4
    assert (tmp_path / "m.stablehlo").stat().st_size > 1000
    with pytest.raises(JaxstyleError, match="exists already"):
        exported(made(), shares(made()), tmp_path / "m.stablehlo", overwrite=False)
    with pytest.raises(JaxstyleError, match="unknown kind of program"):
        exported(made(), shares(made()), tmp_path / "m.pb")
