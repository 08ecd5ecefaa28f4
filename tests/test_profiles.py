"""Embedded colour profiles, through `load`: LittleCMS by way of Pillow, against formulas written here."""

import io
import struct

import numpy as np
import picturefiles as files
import pytest
from PIL import Image, ImageCms

from jaxstyle.images.files import load, srgb_profile

# Columns: the primaries of sRGB in XYZ adapted to D50 (IEC 61966-2-1, Bradford adaptation); rows: ROMM RGB
# (ISO 22028-2) and Display P3 and Adobe RGB as their usual profiles state them.
SRGB_TO_XYZ = np.array([[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169],
                        [0.0139322, 0.0971045, 0.7141733]])
PROPHOTO = np.array([[0.7977, 0.2880, 0.0], [0.1352, 0.7119, 0.0], [0.0313, 0.0001, 0.8249]])
DISPLAY_P3 = np.array(
    [[0.51512, 0.2412, -0.00105], [0.29198, 0.69225, 0.04189], [0.1571, 0.06657, 0.78407]])
ADOBE = np.array([[0.60974, 0.31111, 0.01947], [0.20528, 0.62567, 0.06087], [0.14919, 0.06322, 0.74457]])
SRGB_CURVE = files.parametric_tag(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
# Profile, primaries in XYZ (rows), and what makes samples linear.
SPACES = {
    "prophoto": (files.matrix_profile(PROPHOTO, files.gamma_tag(1.8)), PROPHOTO, lambda x: x**1.8),
    "adobe": (files.matrix_profile(ADOBE, files.gamma_tag(563 / 256)), ADOBE, lambda x: x ** (563 / 256)),
    "p3": (files.matrix_profile(DISPLAY_P3, SRGB_CURVE), DISPLAY_P3,
           lambda x: np.where(x > 0.04045, ((x + 0.055) / 1.055) ** 2.4, x / 12.92)),
    "table": (files.matrix_profile(ADOBE, files.table_tag(np.linspace(0, 1, 257) ** 2.2)), ADOBE,
              lambda x: x**2.2),
}


def encode_srgb(linear):
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def shown(path, pixels, profile):
    Image.fromarray(pixels).save(path, icc_profile=profile)
    return load(path)


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("name", SPACES)
def test_profile_of_a_matrix(tmp_path, name):
    profile, primaries, linear = SPACES[name]
    pixels = noise((48, 48, 3))
    expected = encode_srgb(linear(pixels / 255) @ primaries @ np.linalg.inv(SRGB_TO_XYZ).T)
    found = shown(tmp_path / "a.png", pixels, profile)
    assert np.percentile(np.abs(found - expected), 99) < 1.5 / 255  # darks are coarse in LittleCMS
    assert found.dtype == np.float32
    assert np.abs(found * 255 - pixels).max() > 8  # the profile does something


@pytest.mark.parametrize("gamma", [1.8, 2.6])
def test_grey_profile(tmp_path, gamma):
    tags = {b"desc": files.text_tag(b"grey"), b"wtpt": files.xyz_tag(0.9642, 1, 0.8249)}
    profile = files.icc_bytes(b"GRAY", tags | {b"kTRC": files.gamma_tag(gamma)})
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = encode_srgb((grey[..., None] / 255) ** gamma).repeat(3, -1)
    np.testing.assert_allclose(shown(tmp_path / "a.png", grey, profile), expected, atol=2 / 255)


def test_grey_picture_with_a_colour_profile(tmp_path):
    grey, profile = noise((8, 8)), SPACES["adobe"][0]
    colour = np.repeat(grey[..., None], 3, axis=-1)
    np.testing.assert_array_equal(shown(tmp_path / "grey.png", grey, profile),
                                  shown(tmp_path / "colour.png", colour, profile))


@pytest.mark.parametrize("profile", [srgb_profile(), files.matrix_profile(np.round(SRGB_TO_XYZ.T, 4),
                                                                           SRGB_CURVE)])
def test_srgb_leaves_sixteen_bits_exact(tmp_path, profile):
    pixels = np.random.default_rng(2).integers(0, 65536, (9, 7, 3), dtype=np.uint16)
    path = tmp_path / "a.tif"
    path.write_bytes(files.tiff_bytes(pixels, profile=profile))
    np.testing.assert_array_equal(load(path), (pixels / 65535).astype(np.float32))


def test_srgb_profile_is_reproducible_and_readable():
    assert srgb_profile() == srgb_profile()
    profile = ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile()))
    assert "sRGB" in ImageCms.getProfileDescription(profile)


def test_cmyk_profile_of_tables(tmp_path):
    # No ink is white, all else black, but pure yellow ink, which is a reddish grey: L*a*b* (60, 40, 0).
    levels = np.zeros((2, 2, 2, 2, 3), np.uint8)
    levels[..., 1:] = 128
    levels[0, 0, 0, 0] = (255, 128, 128)
    levels[0, 0, 1, 0] = (153, 168, 128)
    profile = files.cmyk_profile(levels)
    pixels = np.zeros((8, 24, 4), np.uint8)
    pixels[:, 8:16, 2] = 255
    pixels[:, 16:] = 255
    # CIE L*a*b* at D50 in sRGB, from the CIE formulas.
    fy = (60 + 16) / 116
    xyz = np.array([0.9642 * (fy + 40 / 500) ** 3, fy**3, 0.8249 * fy**3])
    yellow = encode_srgb(np.linalg.inv(SRGB_TO_XYZ) @ xyz)
    for suffix in ("jpg", "tif"):
        path = tmp_path / f"ink.{suffix}"
        inks = Image.frombytes("CMYK", (24, 8), pixels.tobytes())
        inks.save(path, icc_profile=profile, **({"quality": 100} if suffix == "jpg" else {}))
        found = load(path)
        np.testing.assert_allclose(found[4, 4], 1, atol=0.02)
        np.testing.assert_allclose(found[4, 20], 0, atol=0.02)
        np.testing.assert_allclose(found[4, 12], yellow, atol=0.02)


MATRIX = SPACES["adobe"][0]
BROKEN = {
    "noise": b"not a profile at all",
    "empty header": bytes(200),
    "cut": MATRIX[:150],
    "wrong space": files.cmyk_profile(np.zeros((2, 2, 2, 2, 3))),
    "no tags": files.icc_bytes(b"RGB ", {}),
    "endless curve": MATRIX.replace(b"curv" + bytes(4) + struct.pack(">I", 1),
                                    b"curv" + bytes(4) + struct.pack(">I", 1 << 31)),
    "unknown curve": SPACES["p3"][0].replace(b"para", b"purr"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_profile_is_ignored_with_a_warning(tmp_path, name):
    pixels = noise((6, 5, 3))
    with pytest.warns(UserWarning, match=r"broken\.png: the embedded colour profile is ignored"):
        found = shown(tmp_path / "broken.png", pixels, BROKEN[name])
    np.testing.assert_array_equal(found, pixels.astype(np.float32) / 255)


@pytest.mark.filterwarnings("ignore:.*colour profile is ignored")
def test_random_damage_to_a_profile_never_raises(tmp_path):
    rng = np.random.default_rng(4)
    pixels = noise((4, 4, 3))
    for profile in (MATRIX, SPACES["p3"][0], srgb_profile()):
        for _ in range(40):
            damaged = bytearray(profile)
            for place in rng.integers(0, len(damaged), 4):
                damaged[place] = rng.integers(256)
            found = shown(tmp_path / "a.png", pixels, bytes(damaged))
            assert found.shape == (4, 4, 3) and found.min() >= 0 and found.max() <= 1
