"""Picture files ↔ arrays.

In the program a picture is float32 `[H, W, 3]`, sRGB (not linear light), in [0, 1], upright,
without alpha.
"""

import io
import json
import os
import struct
import warnings
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from jaxstyle.atomic import exists_already, write_whole
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.decode import MAX_PIXELS, opened, read_samples
from jaxstyle.images.folder import FORMATS
from jaxstyle.ops.resize import fit_shape, resize, resize_to

__all__ = [
    "MAX_PIXELS", "fit_shape", "load", "load_alpha", "read_text", "resize", "resize_to", "save",
]  # fmt: skip

_DESCRIPTION = 270  # EXIF and TIFF tag ImageDescription
_MODES = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}  # of ICC colour spaces, in Pillow
# A profile that moves no colour further than this is sRGB, rounded by its maker (the usual ones differ by up
# to one step of 8 bits, LittleCMS by another in the darks); leaving such pictures alone keeps 16 bits exact.
_SAME = 2.5


def load(path: str | os.PathLike[str]) -> np.ndarray:
    """The picture in a JPEG, PNG, WebP, TIFF or PPM file: float32 [H, W, 3], sRGB in [0, 1].

    8 and 16 bits (16 kept exactly, but for PPM, CMYK and colours that a profile moves), grey, palette, CMYK,
    floating-point grey TIFF; the first picture of several. Alpha is composited on white, EXIF
    orientation applied, an embedded ICC profile converted to sRGB (a broken one is ignored with a
    warning). Values of floating-point files outside [0, 1] are clipped with a warning. At most
    `MAX_PIXELS` pixels.

    Raises `JaxstyleError` for anything that is not a whole picture of such a kind.
    """
    colour, alpha, profile = read_samples(path)
    rgb = _to_rgb(path, colour, profile)
    if alpha is not None:
        rgb *= alpha[..., None]
        rgb += 1 - alpha[..., None]
    return np.require(rgb, np.float32, ["C", "W"])


def load_alpha(path: str | os.PathLike[str]) -> np.ndarray | None:
    """The transparency of a picture file: float32 [H, W], 0 clear … 1 opaque, upright; None when
    the file has none (no alpha channel and no transparent colour). Raises `JaxstyleError` as `load`
    does."""
    return read_samples(path).alpha


def save(
    path: str | os.PathLike[str],
    image: Any,
    *,
    alpha: Any = None,
    text: dict[str, str] | None = None,
    quality: int = 95,
    overwrite: bool = True,
) -> None:
    """Write `image` [H, W, 3] in [0, 1] (clipped, rounded to 8 bits) as PNG, JPEG, WebP or TIFF, by
    suffix, tagged sRGB.

    `alpha` [H, W] in [0, 1] is stored beside it (not in JPEG). `text` goes into iTXt chunks of a
    PNG, into the image description as JSON elsewhere, for `read_text`. `quality` 1–100 is for JPEG
    and WebP; WebP at 100 is lossless.

    The file appears whole or not at all, whatever interrupts (`atomic.write_whole`).

    Raises `JaxstyleError` for pixels that are not finite, a wrong shape or suffix, an existing file
    when `overwrite=False`, a folder that is missing or may not be written, and a full disk.
    """
    path = Path(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise JaxstyleError(f"{path}: unknown picture suffix; use one of {', '.join(FORMATS)}")
    if not overwrite and os.path.lexists(path):
        raise exists_already(path)
    if not 1 <= quality <= 100:
        raise JaxstyleError(f"{path}: quality is {quality}; choose 1 to 100")
    pixels = _to_bytes(path, "image", image, 3)
    if alpha is not None:
        if kind == "JPEG":
            raise JaxstyleError(f"{path}: JPEG holds no transparency; use .png, .webp or .tiff")
        coverage = _to_bytes(path, "alpha", alpha, 2)
        if coverage.shape != pixels.shape[:2]:
            raise JaxstyleError(
                f"{path}: alpha is {coverage.shape} and the image {pixels.shape[:2]}; resize one"
            )
        pixels = np.concatenate([pixels, coverage[..., None]], axis=-1)
    write_whole(path, _encode(path, kind, pixels, text or {}, quality), overwrite)


def read_text(path: str | os.PathLike[str]) -> dict[str, str]:
    """The `text` that `save` put into a picture file (for PNG, every text chunk); {} when there is
    none.

    Raises `JaxstyleError` as `load` does.
    """
    with opened(path) as image:
        if isinstance(image, PngImagePlugin.PngImageFile):
            return {str(key): str(value) for key, value in image.text.items()}
        description = image.getexif().get(_DESCRIPTION, "")
    try:
        text = json.loads(description)
    except (TypeError, ValueError, RecursionError):
        return {}
    good = isinstance(text, dict) and all(isinstance(value, str) for value in text.values())
    return text if good else {}


def srgb_profile() -> bytes:
    """An sRGB profile to embed; the date in it is fixed, so that equal pictures make equal files."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = struct.pack(">6H", 2020, 1, 1, 0, 0, 0)
    return bytes(profile)


def _to_rgb(path: str | os.PathLike[str], colour: np.ndarray, profile: bytes | None) -> np.ndarray:
    if profile:
        try:
            return _to_srgb(colour, profile)
        except ValueError as error:
            warnings.warn(f"{path}: the embedded colour profile is ignored: {error}", stacklevel=3)
    if colour.shape[-1] == 4:
        rgb: np.ndarray = (1 - colour[..., :3]) * (1 - colour[..., 3:])
        return rgb
    return np.repeat(colour, 3, axis=-1) if colour.shape[-1] == 1 else colour


def _to_srgb(colour: np.ndarray, profile: bytes) -> np.ndarray:
    """`colour` [H, W, 1 | 3 | 4] in [0, 1] (grey, RGB or CMYK ink) in the space of an ICC `profile` → sRGB
    [H, W, 3], float32, by LittleCMS: in 8 bits, unless nothing moves. Colours outside sRGB are clipped.

    Raises ValueError when the profile is broken or belongs to another colour space.
    """
    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _MODES.get(embedded.profile.xcolor_space.strip(), "")
        if mode == "RGB" and colour.shape[-1] == 1:
            colour = np.repeat(colour, 3, axis=-1)
        if len(mode) != colour.shape[-1]:
            raise ValueError(f"the profile is for {embedded.profile.xcolor_space}")
        transform = ImageCms.buildTransform(embedded, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, AttributeError) as error:
        raise ValueError(f"the profile cannot be used ({error})") from error

    def convert(samples: np.ndarray) -> np.ndarray:
        height, width, _ = samples.shape
        pixels = Image.frombytes(mode, (width, height), np.rint(samples * 255).astype(np.uint8).tobytes())
        return np.asarray(ImageCms.applyTransform(pixels, transform))

    if mode != "CMYK":
        steps: Any = np.arange(0, 256, 15).astype(np.float32) / 255
        grid = np.stack(np.meshgrid(*[steps] * len(mode), indexing="ij"), axis=-1).reshape(1, -1, len(mode))
        if np.abs(convert(grid) - 255 * grid).max() <= _SAME:
            return np.repeat(colour, 3, axis=-1) if mode == "L" else colour
    return convert(np.clip(colour, 0, 1)).astype(np.float32) / np.float32(255)


def _to_bytes(path: Path, name: str, values: Any, rank: int) -> np.ndarray:
    array = np.asarray(values)
    good = array.ndim == rank and array.size > 0 and (rank == 2 or array.shape[-1] == 3)
    if not good or not jnp.issubdtype(array.dtype, jnp.floating):
        wanted = "[H, W, 3]" if rank == 3 else "[H, W]"
        raise JaxstyleError(
            f"{path}: {name} is {array.dtype}{list(array.shape)}; give floats {wanted} in 0…1"
        )
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise JaxstyleError(
            f"{path}: {name} has pixels that are not finite; nothing was written,"
            " lower the step size"
        )
    levels: np.ndarray = np.rint(np.clip(array, 0, 1) * np.float32(255)).astype(np.uint8)
    return levels


def _encode(path: Path, kind: str, pixels: np.ndarray, text: dict[str, str], quality: int) -> bytes:
    options: dict[str, Any] = {}
    if kind == "PNG":
        options["pnginfo"] = _png_chunks(path, text)
    else:
        options["icc_profile"] = srgb_profile()
        if text:
            options["exif"] = exif = Image.Exif()
            exif[_DESCRIPTION] = json.dumps(text)
    if kind == "JPEG":
        options |= {"quality": quality, "subsampling": 0, "optimize": True}
    elif kind == "WEBP":
        options |= {"quality": quality, "lossless": quality == 100, "exact": True}
    elif kind == "TIFF":
        options["compression"] = "tiff_deflate"
    buffer = io.BytesIO()
    try:
        Image.fromarray(pixels).save(buffer, kind, **options)
    except (OSError, ValueError, MemoryError) as error:
        # The limits of the formats: 65 535 pixels a side and 64 kB of text (JPEG), 16 383 pixels
        # (WebP).
        raise JaxstyleError(
            f"{path}: does not fit into {kind} ({' '.join(str(error).split())}); use .png or .tiff"
        ) from error
    return buffer.getvalue()


def _png_chunks(path: Path, text: dict[str, str]) -> PngImagePlugin.PngInfo:
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"sRGB", b"\0")
    for key, value in text.items():
        try:
            name = key.encode("latin-1")
            if not 1 <= len(name) <= 79 or b"\0" in name:
                raise ValueError("1 to 79 characters")
            chunks.add_itxt(name, value)
        except ValueError as error:
            raise JaxstyleError(
                f"{path}: text {key!r} cannot be stored ({error}); rename the key or mend its text"
            ) from error
    return chunks
