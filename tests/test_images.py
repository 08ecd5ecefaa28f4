"""Writing pictures and the text inside them."""

import errno
import json
import os
import signal
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxstyle import atomic
from jaxstyle.errors import JaxstyleError
from jaxstyle.images import files as images
from jaxstyle.images.files import srgb_profile

RNG = np.random.default_rng(0)
IMAGE = RNG.random((12, 17, 3)).astype(np.float32)
ALPHA = RNG.random((12, 17)).astype(np.float32)
ACROSS, DOWN = np.meshgrid(np.linspace(0, 1, 48), np.linspace(0, 1, 32))
SMOOTH = np.stack([ACROSS, DOWN, 0.4 + 0 * DOWN], -1)
TEXT = {
    "jaxstyle": json.dumps({"recipe": "gatys", "seed": 3}),
    "Prompt": 'ü→"\n\\ \U0001f5bc',
    "empty": "",
}
SUFFIXES = [".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".PNG"]


def rounded(image):
    return np.floor(np.clip(image, 0, 1) * 255 + 0.5) / 255


def leftovers(folder):
    return sorted(name for name in os.listdir(folder) if name.startswith("."))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    lossy = suffix in (".jpg", ".jpeg", ".webp")
    image = SMOOTH if lossy else IMAGE
    images.save(path, image)
    np.testing.assert_allclose(images.load(path), rounded(image), atol=0.03 if lossy else 1e-6)
    assert images.load_alpha(path) is None
    assert leftovers(tmp_path) == []
    with Image.open(path) as written:
        if suffix.lower() == ".png":
            assert written.info["srgb"] == 0
        else:
            assert written.info["icc_profile"] == srgb_profile()


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_alpha(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    images.save(path, IMAGE, alpha=ALPHA, quality=100)
    colour, alpha = rounded(IMAGE), rounded(ALPHA)
    np.testing.assert_allclose(images.load_alpha(path), alpha, atol=1e-6)
    expected = colour * alpha[..., None] + 1 - alpha[..., None]
    np.testing.assert_allclose(images.load(path), expected, atol=1e-6)


@pytest.mark.parametrize("convert", [np.float64, np.float16, jnp.asarray, jnp.bfloat16])
def test_any_floating_array_is_clipped_and_rounded(tmp_path, convert):
    values = np.array([-3, -0.001, 0, 0.4 / 255, 0.6 / 255, 0.5, 1, 1.001, 7], np.float32)
    image = np.broadcast_to(values[:, None, None], (9, 2, 3))
    array = jnp.asarray(image, convert) if convert is jnp.bfloat16 else convert(image)
    images.save(tmp_path / "a.png", array)
    with Image.open(tmp_path / "a.png") as written:
        assert np.asarray(written)[:, 0, 0].tolist() == [0, 0, 0, 0, 1, 128, 255, 255, 255]


def test_equal_pictures_make_equal_files(tmp_path):
    for suffix in SUFFIXES:
        images.save(tmp_path / f"a{suffix}", IMAGE, text=TEXT)
        images.save(tmp_path / f"b{suffix}", IMAGE, text=TEXT)
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_text_survives(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    images.save(path, IMAGE, text=TEXT)
    assert images.read_text(path) == TEXT
    assert all(type(value) is str for value in images.read_text(path).values())
    images.save(path, IMAGE)
    assert images.read_text(path) == {}


def test_png_text_is_itxt(tmp_path):
    images.save(tmp_path / "a.png", IMAGE, text={"key": "value"})
    assert b"iTXtkey\0\0\0\0\0value" in (tmp_path / "a.png").read_bytes()


def test_long_text(tmp_path):
    text = {"recipe": "x" * 3_000_000}
    images.save(tmp_path / "a.png", IMAGE, text=text)
    assert images.read_text(tmp_path / "a.png") == text
    with pytest.raises(JaxstyleError, match=r"a\.jpg: does not fit into JPEG .*use \.png"):
        images.save(tmp_path / "a.jpg", IMAGE, text=text)
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize(
    "description", ["OLYMPUS DIGITAL CAMERA", "[1, 2]", '{"a": 1}', "{" * 9, ""]
)
def test_foreign_descriptions_are_no_text(tmp_path, description):
    exif = Image.Exif()
    exif[270] = description
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg", exif=exif)
    assert images.read_text(tmp_path / "a.jpg") == {}


@pytest.mark.parametrize(
    "key, value", [("", "x"), ("k" * 80, "x"), ("→", "x"), ("a\0b", "x"), ("a", "\ud800")]
)
def test_text_that_png_cannot_hold(tmp_path, key, value):
    with pytest.raises(JaxstyleError, match=r"a\.png: text .* cannot be stored"):
        images.save(tmp_path / "a.png", IMAGE, text={key: value})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "name, image, options, match",
    [
        ("a.gif", IMAGE, {}, r"use one of \.png, \.jpg, \.jpeg, \.webp, \.tif, \.tiff"),
        ("a", IMAGE, {}, "unknown picture suffix"),
        ("a.png", IMAGE[..., :2], {}, r"give floats \[H, W, 3\]"),
        ("a.png", IMAGE[..., 0], {}, r"give floats \[H, W, 3\]"),
        ("a.png", IMAGE[:0], {}, r"give floats \[H, W, 3\]"),
        ("a.png", (IMAGE * 255).astype(np.uint8), {}, "uint8"),
        ("a.png", IMAGE * np.nan, {}, "not finite"),
        ("a.png", np.where(IMAGE > 0.99, np.inf, IMAGE), {}, "not finite"),
        ("a.jpg", IMAGE, {"alpha": ALPHA}, "JPEG holds no transparency"),
        ("a.png", IMAGE, {"alpha": ALPHA[:3]}, "resize one"),
        ("a.png", IMAGE, {"alpha": ALPHA * np.nan}, "alpha has pixels that are not finite"),
        ("a.jpg", IMAGE, {"quality": 0}, "choose 1 to 100"),
        ("a.webp", np.zeros((1, 16384, 3)), {}, "does not fit into WEBP"),
        ("a.jpg", np.zeros((1, 65536, 3)), {}, "does not fit into JPEG"),
        ("missing/a.png", IMAGE, {}, "there is no folder .*missing; create it first"),
    ],
)
def test_what_cannot_be_saved(tmp_path, name, image, options, match):
    path = tmp_path / name
    with pytest.raises(JaxstyleError, match=match) as caught:
        images.save(path, image, **options)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_places_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(JaxstyleError, match="is a folder"):
        images.save(tmp_path / "folder.png", IMAGE)
    (tmp_path / "file").touch()
    with pytest.raises(JaxstyleError, match="there is no folder"):
        images.save(tmp_path / "file" / "a.png", IMAGE)
    for code, reason in [(errno.EACCES, "Permission denied"), (errno.ENOSPC, "No space left")]:

        def failing(*_, code=code):
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "fsync", failing)
        with pytest.raises(JaxstyleError, match=f"cannot be written .{reason}.*check permissions"):
            images.save(tmp_path / "a.png", IMAGE)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.png"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(JaxstyleError, match="cannot be written"):
        images.save(tmp_path / "a.png", IMAGE)


def test_overwriting(tmp_path):
    path = tmp_path / "a.png"
    images.save(path, IMAGE, overwrite=False)
    before = path.read_bytes()
    with pytest.raises(JaxstyleError, match=r"exists already; .*allow overwriting"):
        images.save(path, 1 - IMAGE, overwrite=False)
    assert path.read_bytes() == before
    images.save(path, 1 - IMAGE)
    assert path.read_bytes() != before
    (tmp_path / "dangling.png").symlink_to("nowhere.png")
    with pytest.raises(JaxstyleError, match="exists already"):
        images.save(tmp_path / "dangling.png", IMAGE, overwrite=False)
    assert sorted(os.listdir(tmp_path)) == ["a.png", "dangling.png"]


def test_nobody_is_overwritten_who_came_in_between(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    monkeypatch.setattr(os, "fsync", lambda _: path.write_bytes(b"theirs"))
    with pytest.raises(JaxstyleError, match="exists already"):
        atomic.write_whole(path, b"ours", overwrite=False)
    monkeypatch.setattr(
        os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no links"))
    )
    with pytest.raises(JaxstyleError, match="exists already"):
        atomic.write_whole(path, b"ours", overwrite=False)
    assert path.read_bytes() == b"theirs" and os.listdir(tmp_path) == ["a.png"]
    path.unlink()
    monkeypatch.setattr(os, "fsync", lambda _: None)
    atomic.write_whole(path, b"ours", overwrite=False)
    assert path.read_bytes() == b"ours" and os.listdir(tmp_path) == ["a.png"]


def test_links_are_followed_and_permissions_are_usual(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.png").symlink_to("real/a.png")
    images.save(tmp_path / "link.png", IMAGE)
    assert (tmp_path / "link.png").is_symlink() and (tmp_path / "real" / "a.png").is_file()
    (tmp_path / "plain").touch()
    expected = (tmp_path / "plain").stat().st_mode
    assert (tmp_path / "real" / "a.png").stat().st_mode == expected


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit, MemoryError])
def test_interrupted_at_every_step(tmp_path, monkeypatch, step, exception):
    path = tmp_path / "a.png"
    images.save(path, IMAGE)
    before = path.read_bytes()

    def interrupted(*_, **__):
        raise exception

    if step == "open":
        monkeypatch.setattr("builtins.open", interrupted)
    else:
        monkeypatch.setattr(os, step, interrupted)
    with pytest.raises(exception):
        images.save(path, 1 - IMAGE)
    monkeypatch.undo()
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.png"]


# One interpreter that forks savers and kills them at random moments: importing is the slow part.
KILLER = """
import os, signal, sys, time
import numpy as np
from jaxstyle.images import files as images

path, number, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
image = np.random.default_rng(0).random((120, 120, 3))
rng = np.random.default_rng(1)
complete = 0
for _ in range(count):
    if rng.random() < 0.3 and os.path.exists(path):
        os.remove(path)
    ready, told = os.pipe()
    child = os.fork()
    if not child:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            os.write(told, b"x")
            for _ in range(5000):
                images.save(path, image, text={"key": "value"})
            os._exit(0)
        except KeyboardInterrupt:
            os._exit(130)
    os.read(ready, 1)
    time.sleep(rng.uniform(0, 0.08))
    os.kill(child, number)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == (130 if number == signal.SIGINT else -number), status
    os.close(ready), os.close(told)
    if os.path.exists(path):
        assert images.load(path).shape == (120, 120, 3)
        assert images.read_text(path) == {"key": "value"}
        complete += 1
print(complete)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_while_saving(tmp_path, number):
    path = tmp_path / "a.png"
    killer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLER, str(path), str(int(number)), "50"],
        capture_output=True,
        text=True,
    )
    assert killer.returncode == 0, killer.stderr
    assert int(killer.stdout) > 0
    others = [name for name in os.listdir(tmp_path) if name != "a.png"]
    assert all(name.startswith(".jaxstyle-") and name.endswith(".tmp") for name in others)
    if number == signal.SIGINT:
        assert others == []
