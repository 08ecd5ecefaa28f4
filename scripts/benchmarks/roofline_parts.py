"""FLOPs and bytes of the rows of scripts/benchmark.py, part by part, from their shapes; see roofline.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from benchmarks import common
from benchmarks.rows import Row
from jaxstyle.ops.convolution.layers import LEAST_CHANNELS, WINOGRAD_CHANNELS

BYTES = 4


class Part(NamedTuple):
    """Part of a computation: FLOPs of the direct form and as computed, least bytes and bytes as computed.

    `product`: whether bfloat16 makes its arithmetic faster.
    """

    name: str
    direct: float
    flops: float
    least: float
    moved: float
    product: bool = False


def has_winograd(k: int, i: int, o: int, half: bool) -> bool:
    """Whether `ops.prepare` gives a kernel `[k, k, i, o]` its Winograd form; half: in bfloat16."""
    wide = WINOGRAD_CHANNELS["bfloat16" if half else "float32"]
    return k == 3 and min(i, o) >= LEAST_CHANNELS and max(i, o) >= wide


def conv(side: int, k: int, i: int, o: int, ways: str, half: bool, *, before: int | None = None
         ) -> Iterator[Part]:
    """A convolution with bias and ReLU, from `before` (the same if not given) to `side` pixels.

    Args:
      ways: of "fgw": forward, and the gradients of the input and of the weights; half: products in bfloat16.
    """
    x, y, w = BYTES * (before or side) ** 2 * i, BYTES * side**2 * o, BYTES * k * k * i * o
    direct = 2.0 * side**2 * k * k * i * o
    tiles, small = (-(-side // 2)) ** 2, 2 if half else BYTES
    for way in ways:
        least = x + y + w + (y if way == "g" else 0)  # the gradient of ReLU reads the output, too
        if before or way == "w" or not has_winograd(k, i, o, half):
            name = "weight gradients" if way == "w" else f"direct convolutions {k}×{k}"
            yield Part(name, direct, direct, least, least)
            continue
        read, written = (i, o) if way == "f" else (o, i)
        yield Part("Winograd products", direct, 32.0 * tiles * i * o, least,
                   small * 16 * (tiles * read + i * o) + BYTES * 16 * tiles * written, product=True)
        yield Part("Winograd transforms", 0, tiles * (32.0 * read + 24.0 * written), 0,
                   least - w + 16 * tiles * (small * read + BYTES * written))


def passed(name: str, flops: float, moved: float) -> Part:
    """Something that is computed in the plain form, without detours."""
    return Part(name, flops, flops, moved, moved)


def vgg(size: int, last: str, content: str, style: tuple[str, ...], back: bool, half: bool) -> Iterator[Part]:
    """VGG-19 with max pooling up to `last`, with terms on its features; `back`: and the image's gradient."""
    inputs, ways = 3, "fg" if back else "f"
    for block, widths in enumerate(common.VGG19, start=1):
        side = size >> (block - 1)
        for number, width in enumerate(widths, start=1):
            name, n = f"conv{block}_{number}", BYTES * side**2 * width
            yield from conv(side, 3, inputs, width, ways, half)
            inputs = width
            if name in style:
                product = 2.0 * side**2 * width**2
                yield passed("Gram matrices", 2 * product if back else product, 3 * n if back else n)
            if name == content:
                yield passed("content", 5.0 * side**2 * width, 3 * n)
            if name == last:
                return
        pooled = (1 + 1 / 4 + 1 / 16) * n
        yield passed("pooling", 2 * side**2 * inputs, 2 * pooled if back else pooled)


def network(size: int, ways: str, half: bool) -> Iterator[Part]:
    """The transformation network of Johnson et al., forward and for ways "fgw" its gradients."""
    side = size
    for name, k, i, o, stride, up in common.FAST_NETWORK:
        before, side = side, side * up // stride
        n, some = BYTES * side**2 * o, ways.replace("g", "") if name == "c1" else ways
        if up == 2 and has_winograd(k, i, o, half):  # four images of the size before, side by side
            yield from conv(before, k, i, 4 * o, some, half)
        else:
            yield from conv(side, k, i, o, some, half, before=None if before == side else before)
        if name != "out":  # instance norm reads and writes, its gradient reads two and writes one
            yield passed("norms, residuals", 8.0 * side**2 * o * len(ways), n * (2 if ways == "f" else 5))


def parts(row: Row) -> list[Part]:
    """What a row consists of."""
    size, half = row.size, row.precision == "bfloat16"
    if row.name == "gatys":
        return list(vgg(size, common.STYLE[-1], common.CONTENT, common.STYLE, True, half))
    if row.name == "fast-inference":
        return list(network(size, "f", half))
    if row.name == "fast-training":
        last = common.FAST_STYLE[-1]
        one = [*network(size, "fgw", half),
               *vgg(size, common.FAST_CONTENT, "", (), False, half),
               *vgg(size, last, common.FAST_CONTENT, common.FAST_STYLE, True, half)]
        return one * common.BATCH
    block = int(row.name[-1])
    side, channels = size >> (block - 1), {3: 256, 4: 512}[block]
    pixels, scores, given = side**2, float((side - 2) ** 4), BYTES * 2 * side**2 * channels
    pairs = float(pixels**2)
    return [Part("products of pixels", 18 * scores * channels, 2 * pairs * channels, given,
                 given + BYTES * pairs, product=True),
            Part("sums, maximum", 0, 2 * pairs + 4 * scores, 8 * pixels, BYTES * (3 * pairs + 2 * scores))]
