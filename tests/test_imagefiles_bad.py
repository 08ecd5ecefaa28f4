"""Everything that can be wrong with a picture file."""

import io
import os
import threading
import warnings

import numpy as np
import picturefiles as files
import pytest
from PIL import Image

from jaxstyle.errors import JaxstyleError
from jaxstyle.images import files as images
from jaxstyle.images.decode import MAX_PIXELS

RGB = np.random.default_rng(0).integers(0, 256, (13, 10, 3), dtype=np.uint8)
SMOOTH = (np.indices((32, 48)).sum(0)[..., None] * np.array([1, 2, 3]) % 256).astype(np.uint8)


def write(tmp_path, data):
    path = tmp_path / "picture"
    path.write_bytes(data)
    return path


def saved(tmp_path, image, name):
    image.save(tmp_path / name)
    return tmp_path / name


def refused(path, match):
    for function in (images.load, images.load_alpha, images.read_text):
        with pytest.raises(JaxstyleError, match=match) as caught:
            function(path)
        message = str(caught.value)
        shown = str(path).replace("\0", "\\x00")
        assert message.startswith(f"{shown}: ") and "\n" not in message


def test_what_is_no_picture(tmp_path):
    refused(tmp_path / "missing.png", "no such file")
    refused(tmp_path, "is a folder")
    refused(write(tmp_path, b""), "is empty")
    for data in (b"x", b"hello, this is text " * 50, b"GIF89a" + bytes(99), bytes(1000)):
        refused(write(tmp_path, data), "is not a JPEG, PNG, WebP, TIFF or PPM")
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", "is not a regular file")
    refused(tmp_path / ("x" * 300), "cannot be reached")
    refused("a\0b.png", "cannot be reached")
    (tmp_path / "loop.png").symlink_to("loop.png")
    refused(tmp_path / "loop.png", "cannot be reached")


def test_unreadable_file(tmp_path, monkeypatch):
    path = saved(tmp_path, Image.fromarray(RGB), "a.png")

    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", forbidden)
    refused(path, "may not be read; change its permissions")


@pytest.mark.parametrize("width, height", [(0, 5), (5, 0), (0, 0)])
def test_no_pixels(tmp_path, width, height):
    data = bytearray(files.png_bytes(RGB, 2, 8))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = files.zlib.crc32(data[12:29]).to_bytes(4, "big")
    refused(write(tmp_path, bytes(data)), "without pixels")
    refused(
        write(tmp_path, files.tiff_bytes(np.zeros((height, width, 3), np.uint8))), "without pixels"
    )


@pytest.mark.parametrize(
    "width, height", [(20000, 20000), (MAX_PIXELS + 1, 1), (2**31 - 1, 2**31 - 1)]
)
def test_bombs_are_refused_before_decoding(tmp_path, monkeypatch, width, height):
    data = bytearray(files.png_bytes(RGB, 2, 8))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = files.zlib.crc32(data[12:29]).to_bytes(4, "big")

    def decoded(*_):
        raise AssertionError("asked to decode")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded)
    refused(write(tmp_path, bytes(data)), "more than 178 million pixels|larger than 178 million")


def test_no_warning_from_pillow_between_its_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # warns from here on, refuses above 200
    path = saved(tmp_path, Image.fromarray(RGB), "a.png")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert images.load(path).shape == (13, 10, 3)
    assert not caught
    refused(saved(tmp_path, Image.fromarray(SMOOTH), "b.png"), "million pixels")


def test_warning_filters_survive_threads(tmp_path):
    path = saved(tmp_path, Image.fromarray(SMOOTH), "a.png")
    before = list(warnings.filters)
    threads = [
        threading.Thread(target=lambda: [images.load(path) for _ in range(20)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def encoded(kind, image, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


FUZZED = {
    "png": encoded("PNG", Image.fromarray(SMOOTH)),
    "png16": files.png_bytes(SMOOTH.astype(np.uint16) * 257, 2, 16),
    "jpeg": encoded("JPEG", Image.fromarray(SMOOTH)),
    "progressive": encoded("JPEG", Image.fromarray(SMOOTH), progressive=True),
    "webp": encoded("WEBP", Image.fromarray(SMOOTH)),
    "lossless": encoded("WEBP", Image.fromarray(SMOOTH), lossless=True),
    "tiff": encoded("TIFF", Image.fromarray(SMOOTH)),
    "tiff-lzw": encoded("TIFF", Image.fromarray(SMOOTH), compression="tiff_lzw"),
    "tiff-jpeg": encoded("TIFF", Image.fromarray(SMOOTH), compression="jpeg"),
    "tiff16": files.tiff_bytes(SMOOTH.astype(np.uint16) * 257),
    "tiff16-deflate": files.tiff_bytes(SMOOTH.astype(np.uint16) * 257, deflate=True),
}


def whole_or_refused(path):
    """The picture, or None after a proper refusal; anything else fails the test."""
    try:
        shown = images.load(path)
    except JaxstyleError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return None
    assert shown.dtype == np.float32 and shown.ndim == 3 and shown.shape[2] == 3
    assert shown.size and np.isfinite(shown).all() and shown.min() >= 0 and shown.max() <= 1
    return shown


def silent(capfd, kind):
    printed, complaints = capfd.readouterr()
    assert not printed
    if not kind.startswith("tiff"):  # libtiff writes its own remarks to the standard error
        assert not complaints
    assert "Traceback" not in complaints


@pytest.mark.parametrize("kind", FUZZED)
def test_truncated_anywhere(tmp_path, kind, capfd):
    data = FUZZED[kind]
    cuts = {*range(1, 33), *np.linspace(33, len(data) - 1, 40).astype(int).tolist()}
    refusals = 0
    for cut in sorted(cuts):
        shown = whole_or_refused(write(tmp_path, data[:cut]))
        refusals += shown is None
        assert shown is None or shown.shape == SMOOTH.shape
    assert refusals > 0.8 * len(cuts)
    assert whole_or_refused(write(tmp_path, data)).shape == SMOOTH.shape
    silent(capfd, kind)


@pytest.mark.parametrize("kind", FUZZED)
@pytest.mark.filterwarnings("ignore:.*(colour profile is ignored|outside 0…1 are clipped)")
def test_damaged_anywhere(tmp_path, kind, capfd):
    rng = np.random.default_rng(5)
    for round_ in range(60):
        data = bytearray(FUZZED[kind])
        places = rng.integers(0, len(data) if round_ % 2 else 80, 1 + round_ % 5)
        for place in places:
            data[place % len(data)] = rng.integers(256)
        path = write(tmp_path, bytes(data))
        whole_or_refused(path)
        try:
            images.read_text(path)
        except JaxstyleError:
            continue
    silent(capfd, kind)
