"""Embedded ICC colour profiles → sRGB, on float samples.

Profiles made of curves and a matrix (every RGB working space: sRGB, Display P3, Adobe RGB,
ProPhoto; grey gammas) are evaluated here in floating point, because Pillow's colour management
works on 8 bits only and would spoil 16-bit pictures. Profiles made of tables (scanners, CMYK
presses) go through LittleCMS by way of Pillow, at 8 bits.

Source: ICC.1:2022 (profile version 4.4), §7.2 header, §7.3 tag table, §8.3 three-component matrix
model, §10.6 curv, §10.18 para.
"""

import io
import struct
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms

# Columns: the red, green and blue primaries of sRGB in XYZ adapted to D50, the white of the profile
# connection space (IEC 61966-2-1, Bradford adaptation).
SRGB_TO_XYZ = np.array(
    [
        [0.4360747, 0.3850649, 0.1430804],
        [0.2225045, 0.7168786, 0.0606169],
        [0.0139322, 0.0971045, 0.7141733],
    ]
)
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
_SPACES = {1: b"GRAY", 3: b"RGB ", 4: b"CMYK"}
_BLOCK = 1 << 20
# A profile that moves no colour further than this is sRGB, rounded by its maker (the usual ones
# differ by up to one step of 8 bits in saturated darks); leaving such pictures alone keeps them
# exact.
_SAME = 1.5 / 255


def to_srgb(colour: np.ndarray, profile: bytes) -> np.ndarray:
    """`colour` [H, W, 1 | 3 | 4] in [0, 1] (grey, RGB or CMYK ink) in the space of `profile` → sRGB
    [H, W, 3], float32.

    Colours outside sRGB are clipped. Raises ValueError when the profile is broken or belongs to
    another colour space.
    """
    space = profile[16:20]
    if colour.shape[-1] == 1 and space == b"RGB ":
        colour = np.repeat(colour, 3, axis=-1)
    if space != _SPACES[colour.shape[-1]]:
        raise ValueError(f"the profile is for {space!r}")
    try:
        convert = _shaper(profile)
    except (struct.error, IndexError, OverflowError) as error:
        raise ValueError(f"the profile is damaged ({error})") from error
    if convert is None:
        return _by_tables(colour, profile)
    if _is_identity(convert, colour.shape[-1]):
        return np.repeat(colour, 3, axis=-1) if colour.shape[-1] == 1 else colour
    flat = colour.reshape(-1, colour.shape[-1])
    result = np.empty((len(flat), 3), np.float32)
    for start in range(0, len(flat), _BLOCK):
        result[start : start + _BLOCK] = convert(flat[start : start + _BLOCK])
    return result.reshape(*colour.shape[:-1], 3)


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    """The sRGB transfer function (IEC 61966-2-1) of linear light, clipped to [0, 1]."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def srgb_profile() -> bytes:
    """An sRGB profile to embed; the date in it is fixed, so that equal pictures make equal
    files."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = struct.pack(">6H", 2020, 1, 1, 0, 0, 0)
    return bytes(profile)


def _shaper(profile: bytes) -> Callable[[np.ndarray], np.ndarray] | None:
    """The map [N, C] → sRGB [N, 3] of a profile of curves and a matrix; None for a profile of
    tables."""
    if profile[36:40] != b"acsp":
        raise ValueError("not an ICC profile")
    (count,) = struct.unpack_from(">I", profile, 128)
    tags = {}
    for index in range(min(count, 1000)):
        name, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        tags[name] = profile[offset : offset + size]
    if b"A2B0" in tags or profile[20:24] != b"XYZ ":
        return None
    if profile[16:20] == b"GRAY" and b"kTRC" in tags:
        curves, matrix = [_curve(tags[b"kTRC"])], np.ones((1, 3))
    elif {b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC"} <= tags.keys():
        curves = [_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")]
        columns = [_fixed(tags[name], 8, 3) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
        matrix = (np.linalg.inv(SRGB_TO_XYZ) @ np.stack(columns, axis=1)).T
    else:
        return None

    def convert(samples: np.ndarray) -> np.ndarray:
        # 8- and 16-bit values are exactly entries of a table of 65536.
        index = np.rint(samples * 65535).astype(np.intp)
        linear = np.stack([curve[index[:, i]] for i, curve in enumerate(curves)], axis=1)
        return encode_srgb(linear @ matrix)

    return convert


def _is_identity(convert: Callable[[np.ndarray], np.ndarray], channels: int) -> bool:
    steps = np.linspace(0, 1, 18)
    grid = np.stack(np.meshgrid(*[steps] * channels, indexing="ij"), axis=-1)
    grid = grid.reshape(-1, channels)
    return bool(np.abs(convert(grid) - grid).max() <= _SAME)


def _fixed(tag: bytes, offset: int, count: int) -> np.ndarray:
    """Numbers of ICC type s15Fixed16."""
    return np.array(struct.unpack_from(f">{count}i", tag, offset)) / 65536


def _curve(tag: bytes) -> np.ndarray:
    """A tone curve sampled at 65536 points."""
    x = np.linspace(0, 1, 65536)
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            return x
        values = np.array(struct.unpack_from(f">{count}H", tag, 12))
        if count == 1:
            return x ** (values[0] / 256)
        return np.interp(x, np.linspace(0, 1, count), values / 65535)
    if tag[:4] != b"para":
        raise ValueError(f"unknown curve {tag[:4]!r}")
    (kind,) = struct.unpack_from(">H", tag, 8)
    if kind > 4:
        raise ValueError(f"unknown parametric curve {kind}")
    g, a, b, c, d, e, f = _parameters(kind, tag)
    curved = np.maximum(a * x + b, 0) ** g + e
    result = np.where(x >= d, curved, c * x + f)
    if not np.isfinite(result).all():
        raise ValueError("the tone curve is not finite")
    return np.clip(result, 0, 1)


def _parameters(kind: int, tag: bytes) -> tuple[float, ...]:
    """The parameters of all five kinds of parametric curve brought to the most general one:
    (a x + b)^g + e for x ≥ d, c x + f below."""
    p = [float(v) for v in _fixed(tag, 12, (1, 3, 4, 5, 7)[kind])]
    if kind == 0:
        return p[0], 1.0, 0.0, 0.0, 0.0, 0.0, 0.0
    if kind in (1, 2):
        offset = p[3] if kind == 2 else 0.0
        if p[1] == 0:
            raise ValueError("the tone curve is degenerate")
        return p[0], p[1], p[2], 0.0, -p[2] / p[1], offset, offset
    return (p[0], p[1], p[2], p[3], p[4], *(p[5:] or [0.0, 0.0]))


def _by_tables(colour: np.ndarray, profile: bytes) -> np.ndarray:
    pixels = np.rint(np.clip(colour, 0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, None)
    if pixels.shape[-1] == 4:
        image = Image.frombytes("CMYK", (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
    try:
        result = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            outputMode="RGB",
        )
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        raise ValueError(f"the profile cannot be used ({error})") from error
    return np.asarray(result, np.float32) / np.float32(255)
