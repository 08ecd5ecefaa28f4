"""Colour profiles against LittleCMS (8 bits) and against formulas written here."""

import io
import struct

import numpy as np
import picturefiles as files
import pytest
from PIL import Image, ImageCms

from jaxstyle.images import files as images
from jaxstyle.images import icc

# XYZ (D50) of the primaries: ROMM RGB (ISO 22028-2), and Display P3 and Adobe RGB as their usual
# profiles state them.
PROPHOTO = np.array([[0.7977, 0.2880, 0.0], [0.1352, 0.7119, 0.0], [0.0313, 0.0001, 0.8249]])
DISPLAY_P3 = np.array(
    [[0.51512, 0.2412, -0.00105], [0.29198, 0.69225, 0.04189], [0.1571, 0.06657, 0.78407]]
)
ADOBE = np.array(
    [[0.60974, 0.31111, 0.01947], [0.20528, 0.62567, 0.06087], [0.14919, 0.06322, 0.74457]]
)
SRGB_CURVE = files.parametric_tag(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
PROFILES = {
    "prophoto": files.matrix_profile(PROPHOTO, files.gamma_tag(1.8)),
    "adobe": files.matrix_profile(ADOBE, files.gamma_tag(563 / 256)),
    "p3": files.matrix_profile(DISPLAY_P3, SRGB_CURVE),
    "table": files.matrix_profile(ADOBE, files.table_tag(np.linspace(0, 1, 257) ** 2.2)),
    "swapped": files.matrix_profile(icc.SRGB_TO_XYZ.T[[2, 0, 1]], SRGB_CURVE),
}


def through_lcms(pixels, profile):
    result = ImageCms.profileToProfile(
        Image.fromarray(pixels),
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        outputMode="RGB",
    )
    return np.asarray(result).astype(int)


@pytest.mark.parametrize("name", PROFILES)
def test_matrix_profile_agrees_with_littlecms(name):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    ours = icc.to_srgb(pixels.astype(np.float32) / 255, PROFILES[name])
    reference = through_lcms(pixels, PROFILES[name])
    # LittleCMS rounds to bytes, and near black its tables are coarse.
    difference = np.abs(ours * 255 - reference)
    assert np.percentile(difference, 99) < 1.0
    assert difference.max() < 2.5
    assert ours.dtype == np.float32
    assert np.abs(ours * 255 - pixels).max() > 8  # the profile does something


def test_swapped_channels_come_back_in_order():
    pixels = np.random.default_rng(1).random((8, 8, 3)).astype(np.float32)
    ours = icc.to_srgb(pixels, PROFILES["swapped"])
    np.testing.assert_allclose(ours[..., [2, 0, 1]], pixels, atol=4e-3)


def test_sixteen_bit_prophoto_keeps_its_steps(tmp_path):
    ramp = np.arange(20000, 20000 + 64, dtype=np.uint16).reshape(1, 64, 1).repeat(3, 2)
    path = tmp_path / "ramp.tif"
    path.write_bytes(files.tiff_bytes(ramp, profile=PROFILES["prophoto"]))
    shown = images.load(path)[0]
    linear = (ramp[0] / 65535) ** (round(1.8 * 256) / 256) @ PROPHOTO
    light = linear @ np.linalg.inv(icc.SRGB_TO_XYZ).T
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(shown, expected, atol=2e-4)  # 15.16 fixed point in the profile
    assert len(np.unique(shown[:, 1])) == 64  # eight bits would leave one


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
def test_parametric_curves(order):
    g, a, b, c, d, e, f = 2.2, 0.9, 0.1, 0.3, 0.2, 0.02, 0.01
    x = np.linspace(0, 1, 65536)
    formulas = [
        ((g,), x**g),
        ((g, a, b), (a * x + b) ** g),
        ((g, a, b, 0.05), (a * x + b) ** g + 0.05),
        ((g, a, b, c, d), np.where(x >= d, (a * x + b) ** g, c * x)),
        ((g, a, b, c, d, e, f), np.where(x >= d, (a * x + b) ** g + e, c * x + f)),
    ]
    parameters, expected = formulas[order]
    curve = icc._curve(files.parametric_tag(order, *parameters))
    np.testing.assert_allclose(curve, np.clip(expected, 0, 1), atol=5e-5)


def test_parametric_curve_is_flat_below_its_foot():
    curve = icc._curve(files.parametric_tag(2, 2.0, 1.0, -0.25, 0.1))
    x = np.linspace(0, 1, 65536)
    expected = np.where(x >= 0.25, (x - 0.25) ** 2 + 0.1, 0.1)
    np.testing.assert_allclose(curve, expected, atol=5e-5)


def test_srgb_profiles_leave_pixels_exact():
    pixels = np.random.default_rng(2).random((9, 7, 3)).astype(np.float32)
    assert icc.to_srgb(pixels, icc.srgb_profile()) is pixels
    rounded = files.matrix_profile(np.round(icc.SRGB_TO_XYZ.T, 4), SRGB_CURVE)
    assert icc.to_srgb(pixels, rounded) is pixels


def test_srgb_profile_is_reproducible_and_readable():
    assert icc.srgb_profile() == icc.srgb_profile()
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc.srgb_profile()))
    assert "sRGB" in ImageCms.getProfileDescription(profile)


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
def test_grey_profile(gamma):
    tags = {b"desc": files.text_tag(b"grey"), b"wtpt": files.xyz_tag(0.9642, 1, 0.8249)}
    profile = files.icc_bytes(b"GRAY", tags | {b"kTRC": files.gamma_tag(gamma)})
    grey = np.arange(256, dtype=np.float32).reshape(16, 16, 1) / 255
    ours = icc.to_srgb(grey, profile)
    expected = icc.encode_srgb((grey.astype(float)) ** (round(gamma * 256) / 256))
    np.testing.assert_allclose(ours, expected.repeat(3, -1), atol=1e-4)
    if gamma > 1:  # LittleCMS interpolates steep darks of linear grey coarsely
        reference = through_lcms(np.rint(grey[..., 0] * 255).astype(np.uint8), profile)
        assert np.abs(ours * 255 - reference).max() < 1.5


def test_grey_picture_with_a_colour_profile():
    grey = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8, 1)
    ours = icc.to_srgb(grey, PROFILES["adobe"])
    np.testing.assert_array_equal(ours, icc.to_srgb(grey.repeat(3, -1), PROFILES["adobe"]))


def test_cmyk_profile_of_tables(tmp_path):
    # No ink is white, all else black, but pure yellow ink, which is a reddish grey: L* = 60, a* =
    # 40, b* = 0.
    levels = np.zeros((2, 2, 2, 2, 3), np.uint8)
    levels[..., 1:] = 128
    levels[0, 0, 0, 0] = (255, 128, 128)
    levels[0, 0, 1, 0] = (153, 168, 128)
    profile = files.cmyk_profile(levels)
    pixels = np.zeros((8, 24, 4), np.uint8)
    pixels[:, 8:16, 2] = 255
    pixels[:, 16:] = 255
    for suffix in ("jpg", "tif"):
        path = tmp_path / f"ink.{suffix}"
        inks = Image.frombytes("CMYK", (24, 8), pixels.tobytes())
        inks.save(path, icc_profile=profile, **({"quality": 100} if suffix == "jpg" else {}))
        shown = images.load(path)
        np.testing.assert_allclose(shown[4, 4], 1, atol=0.02)
        np.testing.assert_allclose(shown[4, 20], 0, atol=0.02)
        # CIE L*a*b* (60, 40, 0) at D50 in sRGB, from the CIE formulas.
        fy = (60 + 16) / 116
        xyz = np.array([0.9642 * (fy + 40 / 500) ** 3, fy**3, 0.8249 * fy**3])
        expected = icc.encode_srgb(np.linalg.inv(icc.SRGB_TO_XYZ) @ xyz)
        np.testing.assert_allclose(shown[4, 12], expected, atol=0.02)


BROKEN = {
    "noise": b"not a profile at all",
    "empty header": bytes(200),
    "cut": PROFILES["adobe"][:150],
    "cut in a curve": PROFILES["adobe"][:-6],
    "wrong space": files.cmyk_profile(np.zeros((2, 2, 2, 2, 3))),
    "no tags": files.icc_bytes(b"RGB ", {}),
    "endless curve": PROFILES["adobe"].replace(b"curv" + bytes(4) + struct.pack(">I", 1),
                                               b"curv" + bytes(4) + struct.pack(">I", 1 << 31)),
    "unknown curve": PROFILES["p3"].replace(b"para", b"purr"),
    "degenerate curve": files.matrix_profile(ADOBE, files.parametric_tag(1, 2.0, 0.0, 0.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_profile_is_ignored_with_a_warning(tmp_path, name):
    path = tmp_path / "broken.png"
    pixels = np.random.default_rng(3).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, icc_profile=BROKEN[name])
    with pytest.warns(UserWarning, match=r"broken\.png: the embedded colour profile is ignored"):
        shown = images.load(path)
    np.testing.assert_array_equal(shown, pixels.astype(np.float32) / 255)


def test_random_damage_to_a_profile_never_raises():
    rng = np.random.default_rng(4)
    pixels = rng.random((4, 4, 3)).astype(np.float32)
    for profile in (PROFILES["adobe"], PROFILES["p3"], icc.srgb_profile()):
        for _ in range(60):
            damaged = bytearray(profile)
            for place in rng.integers(0, len(damaged), 4):
                damaged[place] = rng.integers(256)
            try:
                shown = icc.to_srgb(pixels, bytes(damaged))
            except ValueError:
                continue
            assert shown.shape == (4, 4, 3) and np.isfinite(shown).all()
            assert shown.min() >= 0 and shown.max() <= 1
