"""Reading every kind of picture file."""

import itertools

import numpy as np
import picturefiles as files
import pytest
from PIL import Image

from jaxstyle.errors import JaxstyleError
from jaxstyle.images import files as images
from jaxstyle.images.folder import pictures_in

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (13, 10, 3), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (13, 10), dtype=np.uint8)
SMOOTH = (np.indices((32, 48)).sum(0)[..., None] * np.array([1, 2, 3]) % 256).astype(np.uint8)


def unit(pixels):
    return pixels.astype(np.float32) / 255


def on_white(rgb, alpha):
    return rgb * alpha[..., None] + (1 - alpha[..., None])


def write(tmp_path, data, name="picture"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def saved(tmp_path, image, name, **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def check(path, rgb, alpha=None, atol=1e-6):
    shown, opacity = images.load(path), images.load_alpha(path)
    assert shown.dtype == np.float32 and shown.flags.c_contiguous and shown.flags.writeable
    expected = rgb if alpha is None else on_white(rgb, alpha)
    np.testing.assert_allclose(shown, expected, atol=atol)
    if alpha is None:
        assert opacity is None
    else:
        assert opacity.dtype == np.float32
        np.testing.assert_allclose(opacity, alpha, atol=1e-6)


LOSSLESS = [
    ("png", {}),
    ("tif", {}),
    ("tif", {"compression": "tiff_lzw"}),
    ("tif", {"compression": "tiff_deflate"}),
    ("webp", {"lossless": True, "exact": True}),
]


def test_frames_in_ppm(tmp_path):
    check(saved(tmp_path, Image.fromarray(RGB), "frame.ppm"), unit(RGB))
    assert pictures_in(tmp_path) == [tmp_path / "frame.ppm"]


@pytest.mark.parametrize("suffix, options", LOSSLESS)
def test_eight_bits(tmp_path, suffix, options):
    rgba = np.concatenate([RGB, ALPHA[..., None]], -1)
    check(saved(tmp_path, Image.fromarray(RGB), f"a.{suffix}", **options), unit(RGB))
    check(saved(tmp_path, Image.fromarray(rgba), f"b.{suffix}", **options), unit(RGB), unit(ALPHA))


@pytest.mark.parametrize("suffix, options", LOSSLESS[:4])
def test_grey_palette_and_one_bit(tmp_path, suffix, options):
    grey = RGB[..., 0]
    wide = unit(grey)[..., None].repeat(3, -1)
    check(saved(tmp_path, Image.fromarray(grey), f"l.{suffix}", **options), wide)
    pair = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(ALPHA)])
    check(saved(tmp_path, pair, f"la.{suffix}", **options), wide, unit(ALPHA))
    palette = Image.fromarray(grey % 7).convert("P")
    palette.putpalette(RGB[0].ravel().tolist()[:21])
    check(saved(tmp_path, palette, f"p.{suffix}", **options), unit(RGB[0][grey % 7]))
    bits = Image.fromarray(grey > 127)
    check(saved(tmp_path, bits, f"1.{suffix}", **options), np.where(wide > 0.5, 1.0, 0.0))


def test_jpeg(tmp_path):
    for source in (Image.fromarray(SMOOTH), Image.fromarray(SMOOTH[..., 0])):
        path = saved(tmp_path, source, "a.jpg", quality=95)
        with Image.open(path) as decoded:
            expected = unit(np.asarray(decoded.convert("RGB")))
        check(path, expected)
        np.testing.assert_allclose(expected, unit(np.asarray(source.convert("RGB"))), atol=0.12)


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_without_a_profile(tmp_path, suffix):
    inks = np.zeros((16, 32, 4), np.uint8)
    inks[:, 16:] = (51, 102, 0, 128)
    path = saved(tmp_path, Image.frombytes("CMYK", (32, 16), inks.tobytes()), f"ink.{suffix}")
    shown = images.load(path)
    np.testing.assert_allclose(shown[8, 4], 1, atol=0.02)
    light = 1 - 128 / 255
    np.testing.assert_allclose(shown[8, 24], [0.8 * light, 0.6 * light, light], atol=0.02)


@pytest.mark.parametrize(
    "depth, interlaced", list(itertools.product([1, 2, 4, 8, 16], [False, True]))
)
def test_png_grey_of_every_depth_with_a_transparent_level(tmp_path, depth, interlaced):
    top = 2**depth - 1
    grey = RNG.integers(0, top + 1, (13, 10, 1))
    clear = int(grey[3, 4, 0])
    data = files.png_bytes(grey, 0, depth, interlaced=interlaced,
                           transparent=clear.to_bytes(2, "big"))  # fmt: skip
    check(write(tmp_path, data), (grey / top).repeat(3, -1), (grey != clear)[..., 0].astype(float))
    check(write(tmp_path, files.png_bytes(grey, 0, depth, interlaced=interlaced)),
          (grey / top).repeat(3, -1))  # fmt: skip


@pytest.mark.parametrize("depth, interlaced", list(itertools.product([8, 16], [False, True])))
def test_png_colour_of_every_depth(tmp_path, depth, interlaced):
    top = 2**depth - 1
    rgba = RNG.integers(0, top + 1, (13, 10, 4))
    unit16 = rgba / top
    check(write(tmp_path, files.png_bytes(rgba[..., :3], 2, depth, interlaced=interlaced)),
          unit16[..., :3])  # fmt: skip
    check(write(tmp_path, files.png_bytes(rgba, 6, depth, interlaced=interlaced)),
          unit16[..., :3], unit16[..., 3])  # fmt: skip
    check(write(tmp_path, files.png_bytes(rgba[..., 2:], 4, depth, interlaced=interlaced)),
          unit16[..., 2:3].repeat(3, -1), unit16[..., 3])  # fmt: skip
    clear = rgba[2, 3, :3]
    near = rgba.copy()
    near[5, 5, :3] = clear ^ 1  # differs in the low bits only
    data = files.png_bytes(near[..., :3], 2, depth, interlaced=interlaced,
                           transparent=clear.astype(">u2").tobytes())  # fmt: skip
    opaque = (near[..., :3] != clear).any(-1).astype(float)
    assert opaque[5, 5] == 1
    check(write(tmp_path, data), near[..., :3] / top, opaque)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("transparent", [b"", b"\x00", b"\xff\x00", b"\x80\x20\xff"])
def test_png_palette_with_transparency(tmp_path, depth, transparent):
    colours = RNG.integers(0, 256, (2**depth, 3), dtype=np.uint8)
    transparent = transparent[: 2**depth]
    index = RNG.integers(0, 2**depth, (13, 10))
    data = files.png_bytes(index[..., None], 3, depth, transparent=transparent,
                           palette=colours.tobytes())  # fmt: skip
    levels = np.full(2**depth, 255)
    levels[: len(transparent)] = list(transparent)
    check(write(tmp_path, data), unit(colours[index]), unit(levels[index]) if transparent else None)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflate, predictor", [(0, 1), (1, 1), (1, 2)])
def test_tiff_of_16_bits(tmp_path, order, deflate, predictor):
    words = RNG.integers(0, 65536, (13, 10, 4), dtype=np.uint16)
    layout = {"order": order, "deflate": deflate, "predictor": predictor}
    exact = words / 65535
    check(write(tmp_path, files.tiff_bytes(words[..., :1], **layout)), exact[..., :1].repeat(3, -1))
    check(write(tmp_path, files.tiff_bytes(words[..., :3], **layout)), exact[..., :3])
    check(
        write(tmp_path, files.tiff_bytes(words, extra=2, **layout)), exact[..., :3], exact[..., 3]
    )
    check(write(tmp_path, files.tiff_bytes(words, extra=0, **layout)), exact[..., :3])
    premultiplied = words.copy()
    premultiplied[..., :3] = np.rint(words[..., :3] * exact[..., 3:])
    colour = premultiplied[..., :3] / np.maximum(words[..., 3:].astype(float), 1)
    check(write(tmp_path, files.tiff_bytes(premultiplied, extra=1, **layout)),
          np.clip(colour, 0, 1), exact[..., 3], atol=2e-5)  # fmt: skip


@pytest.mark.parametrize("deflate", [0, 1])
def test_tiff_of_other_greys(tmp_path, deflate):
    floats = RNG.random((13, 10, 1)).astype(np.float32)
    words = RNG.integers(0, 65536, (13, 10, 1), dtype=np.uint16)
    grey = words.repeat(3, -1) / 65535

    def tiff(samples, **layout):
        return write(tmp_path, files.tiff_bytes(samples, deflate=deflate, **layout))

    for order in "<>":
        check(tiff(floats, order=order), floats.repeat(3, -1))
        check(tiff(floats, order=order, photometric=0), 1 - floats.repeat(3, -1))
        signed = (words // 2).astype(np.int16)
        check(tiff(signed, order=order), signed.repeat(3, -1) / 32767)
        check(tiff(signed.astype(np.int32) * 65536, order=order), signed.repeat(3, -1) / 32768)
    check(tiff(words, photometric=0), 1 - grey)
    check(tiff(words.astype(np.uint32) * 65537), grey)


def test_float_tiff_outside_the_range(tmp_path):
    path = write(tmp_path, files.tiff_bytes(np.array([[[-0.5], [0.5], [2.0]]], np.float32)))
    with pytest.warns(UserWarning, match="outside 0…1 are clipped"):
        np.testing.assert_array_equal(images.load(path)[0, :, 0], [0, 0.5, 1])
    for bad in (np.nan, np.inf):
        path = write(tmp_path, files.tiff_bytes(np.full((4, 4, 1), bad, np.float32)))
        with pytest.raises(JaxstyleError, match="not finite"):
            images.load(path)


@pytest.mark.parametrize("deflate", [0, 1])
def test_tiff_in_planes(tmp_path, deflate):
    check(write(tmp_path, files.tiff_bytes(RGB, planar=2, deflate=deflate)), unit(RGB))
    words = RNG.integers(0, 65536, (13, 10, 3), dtype=np.uint16)
    path = write(tmp_path, files.tiff_bytes(words, planar=2, deflate=deflate))
    with pytest.raises(JaxstyleError, match="16-bit channels stored one after the other"):
        images.load(path)


def turned(pixels, orientation):
    """How a camera stores an upright picture with this EXIF orientation, from the table of the
    standard: where the 0th row and the 0th column of the file lie in the picture."""
    rows = {
        1: "top",
        2: "top",
        3: "bottom",
        4: "bottom",
        5: "left",
        6: "right",
        7: "right",
        8: "left",
    }
    columns = {
        1: "left",
        2: "right",
        3: "right",
        4: "left",
        5: "top",
        6: "top",
        7: "bottom",
        8: "bottom",
    }
    aside = rows[orientation] in ("left", "right")
    stored = np.swapaxes(pixels, 0, 1) if aside else pixels
    if rows[orientation] in ("bottom", "right"):
        stored = stored[::-1]
    if columns[orientation] in ("right", "bottom"):
        stored = stored[:, ::-1]
    return np.ascontiguousarray(stored)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    rgba = np.concatenate([RGB, ALPHA[..., None]], -1)
    for suffix, options in LOSSLESS:
        path = saved(tmp_path, Image.fromarray(turned(rgba, orientation)), f"a.{suffix}",
                     exif=exif, **options)  # fmt: skip
        check(path, unit(RGB), unit(ALPHA))
    path = saved(tmp_path, Image.fromarray(turned(SMOOTH, orientation)), "a.jpg", exif=exif)
    np.testing.assert_allclose(images.load(path), unit(SMOOTH), atol=0.25)
    words = RGB.astype(np.uint16) * 256 + RGB[::-1]
    for deflate in (0, 1):
        stored = files.tiff_bytes(
            turned(words, orientation), orientation=orientation, deflate=deflate
        )
        check(write(tmp_path, stored), words / 65535)


def test_strange_orientation_is_ignored(tmp_path):
    for value in (0, 9, 65535):
        exif = Image.Exif()
        exif[274] = value
        check(saved(tmp_path, Image.fromarray(RGB), "a.png", exif=exif), unit(RGB))


def test_first_of_several_pictures(tmp_path):
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    for name, options in [("a.png", {}), ("a.tif", {}), ("a.webp", {"lossless": True})]:
        check(saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:], **options),
              unit(RGB))  # fmt: skip
