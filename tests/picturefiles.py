"""Writers of PNG, TIFF and ICC bytes for the tests, from the specifications and independent of
Pillow."""

import struct
import zlib

import numpy as np


def png_bytes(samples, colour_type, depth, *, interlaced=False, transparent=b"", palette=b""):
    """`samples` [H, W, C] of integers; `transparent` and `palette` are the bodies of tRNS and
    PLTE."""

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    def rows(part):
        return b"".join(b"\0" + _packed(row, depth) for row in part)

    height, width = samples.shape[:2]
    if interlaced:  # Adam7
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2),
                  (0, 1, 2, 2), (1, 0, 2, 1)]  # fmt: skip
        body = b"".join(rows(samples[y::dy, x::dx]) for y, x, dy, dx in passes
                        if samples[y::dy, x::dx].size)  # fmt: skip
    else:
        body = rows(samples)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlaced)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + (chunk(b"PLTE", palette) if palette else b"")
        + (chunk(b"tRNS", transparent) if transparent else b"")
        + chunk(b"IDAT", zlib.compress(body))
        + chunk(b"IEND", b"")
    )


def _packed(row, depth):
    if depth == 16:
        return row.astype(">u2").tobytes()
    if depth == 8:
        return row.astype("u1").tobytes()
    bits = (row.reshape(-1, 1) >> np.arange(depth - 1, -1, -1)) & 1
    return np.packbits(bits.astype("u1").ravel()).tobytes()


def tiff_bytes(samples, *, order="<", photometric=None, extra=None, deflate=False, planar=1,
               profile=b"", orientation=1, predictor=1):  # fmt: skip
    """`samples` [H, W, C] of any integer or float dtype, in one strip (one per channel if
    planar)."""
    height, width, channels = samples.shape
    kind = {"u": 1, "i": 2, "f": 3}[samples.dtype.kind]
    bits = 8 * samples.dtype.itemsize
    if photometric is None:
        photometric = 2 if channels >= 3 else 1
    coded = samples
    if predictor == 2:
        coded = np.diff(samples, axis=1, prepend=np.zeros_like(samples[:, :1]))
    coded = coded.astype(samples.dtype.newbyteorder(order))
    strips = (
        [coded[..., c].tobytes() for c in range(channels)] if planar == 2 else [coded.tobytes()]
    )
    if deflate:
        strips = [zlib.compress(strip) for strip in strips]
    tags = [
        (256, "I", [width]), (257, "I", [height]), (258, "H", [bits] * channels),
        (259, "H", [8 if deflate else 1]), (262, "H", [photometric]),
        (273, "I", None), (274, "H", [orientation]), (277, "H", [channels]), (278, "I", [height]),
        (279, "I", [len(strip) for strip in strips]), (284, "H", [planar]),
    ]  # fmt: skip
    if predictor != 1:
        tags.append((317, "H", [predictor]))
    if extra is not None:
        tags.append((338, "H", [extra]))
    tags.append((339, "H", [kind] * channels))
    if profile:
        tags.append((34675, "B", list(profile)))
    offset = 8 + 2 + 12 * len(tags) + 4
    entries, tail = b"", b""
    data = b"".join(strips)
    places = offset + np.cumsum([0, *map(len, strips)])[:-1]
    for number, code, values in tags:
        values = places.tolist() if values is None else values
        body = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(body) > 4:
            place = offset + len(data) + len(tail)
            tail += body
            body = struct.pack(order + "I", place)
        kind_code = {"B": 7, "H": 3, "I": 4}[code]
        entries += struct.pack(order + "HHI", number, kind_code, len(values)) + body.ljust(4, b"\0")
    start = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HI", 42, 8)
    return start + struct.pack(order + "H", len(tags)) + entries + bytes(4) + data + tail


def icc_bytes(space, tags, pcs=b"XYZ ", version=0x02400000):
    """A profile with the given tags {name: body}."""
    directory, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        directory += struct.pack(">4sII", name, start + len(body), len(data))
        body += data
    size = start + len(body)
    header = struct.pack(">I4xI4s4s4s12x4s", size, version, b"mntr", space, pcs, b"acsp")
    header = header.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + directory + body


def gamma_tag(gamma):
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


def table_tag(values):
    words = np.rint(np.asarray(values) * 65535).astype(">u2").tobytes()
    return b"curv" + bytes(4) + struct.pack(">I", len(values)) + words


def parametric_tag(kind, *parameters):
    numbers = [round(p * 65536) for p in parameters]
    return b"para" + bytes(4) + struct.pack(f">HH{len(numbers)}i", kind, 0, *numbers)


def xyz_tag(x, y, z):
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in (x, y, z)))


def text_tag(text):
    return b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text + b"\0" + bytes(78)


def matrix_profile(primaries, curve):
    """An RGB profile; `primaries` holds the XYZ (D50) of red, green and blue as rows."""
    tags = {b"desc": text_tag(b"test"), b"wtpt": xyz_tag(0.9642, 1.0, 0.8249)}
    for name, row in zip((b"r", b"g", b"b"), primaries):
        tags[name + b"XYZ"] = xyz_tag(*row)
        tags[name + b"TRC"] = curve
    return icc_bytes(b"RGB ", tags)


def cmyk_profile(levels):
    """A CMYK profile of tables (lut8, two grid points an axis); `levels` [2, 2, 2, 2, 3] of L*a*b*
    bytes, cyan varying slowest."""
    identity = bytes(range(256))
    body = b"mft1" + bytes(4) + bytes([4, 3, 2, 0])
    body += struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    body += identity * 4 + np.asarray(levels, np.uint8).tobytes() + identity * 3
    tags = {b"desc": text_tag(b"test"), b"wtpt": xyz_tag(0.9642, 1.0, 0.8249), b"A2B0": body}
    return icc_bytes(b"CMYK", tags, pcs=b"Lab ")
