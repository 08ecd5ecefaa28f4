"""Picture files → samples: what lies between Pillow and `images.files.load`.

Pillow decodes every format here. Two things are done beside it: 16-bit colour, which Pillow reduces
to 8 bits, is decoded in two passes (high bytes, low bytes) that together are exact; and Pillow's
warnings and the many exceptions that damaged files provoke are turned into one kind of error.
"""

import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from jaxstyle.errors import JaxstyleError

# Where Pillow itself refuses (twice its MAX_IMAGE_PIXELS). An A2 scan at 600 dpi has 139 million.
MAX_PIXELS = 178_956_970

_MAGIC = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"P6": "PPM"}
_MAGIC |= {magic: "TIFF" for magic in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")}

_SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}

# libtiff hands out numbers in the order of this machine, which Pillow overlooks for these.
_NATIVE = {"F;32BF": "F;32NF", "I;16BS": "I;16NS", "I;32BS": "I;32NS"}
_log = logging.getLogger("PIL")

_PHOTOMETRIC, _BITS, _PLANAR, _FORMAT, _ORIENTATION = 262, 258, 284, 339, 274


class Samples(NamedTuple):
    """The contents of a file, upright: colour [H, W, C] in [0, 1] with C = 1 grey, 3 RGB or 4 CMYK
    ink, not premultiplied; alpha [H, W] or None; the embedded ICC profile or None."""

    colour: np.ndarray
    alpha: np.ndarray | None
    profile: bytes | None


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[ImageFile.ImageFile]:
    """The picture `path`, header read and dimensions checked, pixels not yet decoded.

    Whatever goes wrong, here or in the body of the `with`, becomes a `JaxstyleError`.
    """
    try:
        if not os.path.isfile(path):
            raise JaxstyleError(f"{path}: {_why_no_file(path)}")
        with _silent_pillow, Path(path).open("rb") as file:
            kind = _kind(path, file.read(16))
            file.seek(0)
            with Image.open(file, formats=[kind]) as image:
                _check_size(path, *image.size)
                yield image
    except JaxstyleError:
        raise
    except Image.DecompressionBombError as error:
        raise JaxstyleError(
            f"{path}: the picture is larger than {MAX_PIXELS // 1_000_000} million pixels;"
            " scale it down first"
        ) from error
    except PermissionError as error:
        raise JaxstyleError(f"{path}: may not be read; change its permissions") from error
    except MemoryError as error:
        raise JaxstyleError(
            f"{path}: not enough memory to decode the picture; scale it down first"
        ) from error
    except Exception as error:
        # Damaged files make Pillow raise nearly any type (SyntaxError, struct.error, EOFError,
        # KeyError, …).
        reason = "" if isinstance(error, UnidentifiedImageError) else " ".join(str(error).split())
        raise JaxstyleError(
            f"{path}: cannot be decoded: damaged, truncated, without pixels or of an unsupported"
            f" kind{f' ({reason})' if reason else ''}; export it again as 8- or 16-bit PNG"
        ) from error


def read_samples(path: str | os.PathLike[str]) -> Samples:
    """Decode the first picture in `path`. Raises `JaxstyleError`."""
    with opened(path) as image:
        raw = _raw_mode(image)
        passes = _two_pass_modes(raw)
        if passes is None:
            if raw in _NATIVE.values():
                _decode_as(image, raw)
            image.load()
            colour, alpha = _split(image, _key(image, raw))
        else:
            colour, alpha = _decode_16_bit(path, image, *passes, premultiplied="RGBa" in raw)
        if not np.isfinite(colour).all():
            raise JaxstyleError(f"{path}: contains pixels that are not finite numbers; repair it")
        profile = image.info.get("icc_profile")
        turn = image.getexif().get(_ORIENTATION, 1)
    if colour.min() < 0 or colour.max() > 1:
        warnings.warn(
            f"{path}: values outside 0…1 are clipped; rescale the file if its white is not 1",
            stacklevel=2,
        )
        colour = np.clip(colour, 0, 1)
    colour = _upright(colour, turn)
    return Samples(
        np.ascontiguousarray(colour),
        None if alpha is None else np.ascontiguousarray(_upright(alpha, turn)),
        profile,
    )


class _SilentPillow:
    """Hides Pillow's warnings and log while any thread is inside. `warnings.catch_warnings` alone
    restores the wrong filters when two threads leave in the order they came."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.depth = 0
        self.saved = warnings.catch_warnings()
        self.level = logging.NOTSET

    def __enter__(self) -> None:
        with self.lock:
            if self.depth == 0:
                self.saved = warnings.catch_warnings()
                self.saved.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
                self.level = _log.level
                _log.setLevel(logging.CRITICAL)
            self.depth += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.depth -= 1
            if self.depth == 0:
                _log.setLevel(self.level)
                self.saved.__exit__(None, None, None)


_silent_pillow = _SilentPillow()


def _why_no_file(path: str | os.PathLike[str]) -> str:
    try:
        os.stat(path)
    except FileNotFoundError:
        return "no such file; check the name"
    except (OSError, ValueError) as error:
        return f"cannot be reached ({getattr(error, 'strerror', None) or error}); check the name"
    if os.path.isdir(path):
        return "is a folder; name a picture in it"
    return "is not a regular file; save the picture to one first"


def _kind(path: str | os.PathLike[str], head: bytes) -> str:
    if not head:
        raise JaxstyleError(f"{path}: the file is empty; copy it again")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    raise JaxstyleError(
        f"{path}: is not a JPEG, PNG, WebP, TIFF or PPM picture; convert it to one of these"
    )


def _check_size(path: str | os.PathLike[str], width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise JaxstyleError(
            f"{path}: {width}×{height} is more than {MAX_PIXELS // 1_000_000} million pixels;"
            " scale it down first"
        )


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """How the samples lie in the file, in Pillow's words (before decoding)."""
    tags = getattr(image, "tag_v2", {})
    if tags.get(_PLANAR) == 2 and np.max(tags.get(_BITS, 1)) > 8:
        raise ValueError("16-bit channels stored one after the other")
    if not image.tile:  # WebP
        return ""
    codec, _, _, args = image.tile[0]
    raw = args if isinstance(args, str) else str((args or ("",))[0])
    return _NATIVE.get(raw, raw) if codec == "libtiff" else raw


def _key(image: ImageFile.ImageFile, raw: str) -> object:
    """The transparent colour, in the units of the decoded picture. PNG states it in the bits of the
    file."""
    key = image.info.get("transparency")
    if isinstance(key, int) and raw == "1":
        return 255 if key else 0
    return key * {"L;2": 85, "L;4": 17}.get(raw, 1) if isinstance(key, int) else key


def _two_pass_modes(raw: str) -> tuple[str, str] | None:
    """The raw modes that unpack the high and the low bytes of 16-bit colour; None for anything
    else."""
    if raw == "LA;16B":
        return raw, "RGBA"
    name, _, order = raw.partition(";16")
    if name not in ("RGB", "RGBX", "RGBA", "RGBa") or order not in _SWAPPED:
        return None
    # Pillow divides premultiplied colour by alpha byte by byte, which is wrong for one half of a
    # sample.
    name = "RGBA" if name == "RGBa" else name
    return f"{name};16{order}", f"{name};16{_SWAPPED[order]}"


def _decode_16_bit(
    path: str | os.PathLike[str], image: ImageFile.ImageFile, high: str, low: str, premultiplied: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    with opened(path) as again:
        first, second = _decode_as(image, high), _decode_as(again, low)
    if low == "RGBA":  # grey and alpha as four bytes: grey high, grey low, alpha high, alpha low
        first, second = second[..., 0::2], second[..., 1::2]
    words = first.astype(np.uint16) * np.uint16(256) + second
    values = words / np.float32(65535)
    key = image.info.get("transparency")
    if values.shape[-1] == 3:
        return values, None if key is None else _keyed((words == np.array(key)).all(-1), True)
    colour, alpha = values[..., :-1], values[..., -1]
    if premultiplied:
        colour = np.clip(colour / np.maximum(alpha, 1 / 65535)[..., None], 0, 1)
    return colour, alpha


def _decode_as(image: ImageFile.ImageFile, raw: str) -> np.ndarray:
    image.tile = [
        tile._replace(args=raw if isinstance(tile.args, str) else (raw, *(tile.args or ())[1:]))
        for tile in image.tile
    ]
    image.load()
    return np.asarray(image)


def _split(image: ImageFile.ImageFile, key: object) -> tuple[np.ndarray, np.ndarray | None]:
    """Colour and alpha of a decoded picture of any mode but 16-bit colour."""
    if image.mode.startswith("I") or image.mode == "F":
        return _wide_grey(image, key)
    if image.mode in ("1", "L"):
        grey = np.asarray(image.convert("L"))
        return _unit(grey)[..., None], _keyed(grey, key)
    if image.mode == "RGB":
        rgb = np.asarray(image)
        return _unit(rgb), None if key is None else _keyed((rgb == np.array(key)).all(-1), True)
    if image.mode == "CMYK":
        return _unit(np.asarray(image)), None
    if image.mode in ("LA", "La"):
        pair = _unit(np.asarray(image.convert("LA")))
        return pair[..., :1], pair[..., 1]
    if image.mode in ("P", "PA", "RGBA", "RGBa"):
        clear = image.mode != "P" or key is not None
        pixels = _unit(np.asarray(image.convert("RGBA" if clear else "RGB")))
        return pixels[..., :3], pixels[..., 3] if clear else None
    if image.mode in ("RGBX", "YCbCr"):
        return _unit(np.asarray(image.convert("RGB"))), None
    raise ValueError(f"colour mode {image.mode}")


def _wide_grey(image: ImageFile.ImageFile, key: object) -> tuple[np.ndarray, np.ndarray | None]:
    """Grey of 12, 16 or 32 bits, or floating point."""
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    bits = int(np.ravel(tags.get(_BITS, 16))[0])
    signed = int(np.ravel(tags.get(_FORMAT, 1))[0]) == 2
    if image.mode == "F":
        grey = values.astype(np.float32)
    elif bits == 32 and not signed:
        grey = (values.astype(np.int32).view(np.uint32) / (2.0**32 - 1)).astype(np.float32)
    else:
        grey = (values / (2.0 ** (bits - signed) - 1)).astype(np.float32)
    if tags.get(_PHOTOMETRIC) == 0:
        grey = 1 - grey
    return grey[..., None], _keyed(values, key)


def _keyed(values: np.ndarray, key: object) -> np.ndarray | None:
    return None if key is None else np.where(values == key, 0, 1).astype(np.float32)


def _unit(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) / np.float32(255)


def _upright(pixels: np.ndarray, orientation: object) -> np.ndarray:
    """Undo an EXIF orientation (2–8); anything else leaves the picture as it is."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
