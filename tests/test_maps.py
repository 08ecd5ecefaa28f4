"""Semantic maps: files of any kind, labels, and one clear line for each thing that is wrong with them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image

from jaxstyle.errors import JaxstyleError
from jaxstyle.images.maps import joined, label_numbers, labels_of, lossy, read_map, read_maps, sem_path
from jaxstyle.runs.manifest import Files, load_references
from jaxstyle.runs.maps import with_found_maps

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def flat(*colours, size=(12, 16)):
    """Stripes of flat colours, `[H, W, 3]` bytes."""
    image = np.zeros((*size, len(colours[0])), np.uint8)
    for k, colour in enumerate(colours):
        image[:, k * size[1] // len(colours) : (k + 1) * size[1] // len(colours)] = colour
    return image


def write(path, pixels, mode=None, **options):
    image = Image.fromarray(pixels if pixels.shape[-1] != 1 else pixels[..., 0])
    (image if mode is None else image.convert(mode)).save(path, **options)
    return str(path)


def photo(size=(64, 80), seed=0):
    """Smooth and noisy, with thousands of colours."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]] / 20
    waves = np.stack([np.sin(x), np.cos(y), np.sin(x * y)], -1) * 80 + 128 + rng.normal(0, 15, (*size, 3))
    return np.clip(waves, 0, 255).astype(np.uint8)


def test_maps_are_read_as_numbers_whatever_their_kind(tmp_path):
    rgb = flat(RED, GREEN, WHITE)
    assert read_map(write(tmp_path / "rgb.png", rgb)).kind == "RGB"
    np.testing.assert_array_equal(read_map(tmp_path / "rgb.png").values, rgb / np.float32(255))
    opaque = np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
    assert read_map(write(tmp_path / "opaque.png", opaque)).kind == "RGB"
    clear = opaque.copy()
    clear[:6, :, 3] = 0
    found = read_map(write(tmp_path / "clear.png", clear))
    assert found.kind == "RGBA" and found.values.shape == (12, 16, 4)
    assert found.values[0, 0, 0] == 1, "colour under clear pixels is kept: it is a label, not a picture"
    grey = read_map(write(tmp_path / "grey.png", rgb[..., :1]))
    assert grey.kind == "grey" and grey.values.shape == (12, 16, 1)
    words = (rgb[..., 0].astype(np.uint16) * 257) // 3
    Image.fromarray(words).save(tmp_path / "wide.png")
    wide = read_map(tmp_path / "wide.png")
    np.testing.assert_allclose(wide.values[..., 0], words / 65535, rtol=1e-6)
    assert read_map(write(tmp_path / "palette.png", rgb, "P")).kind == "palette"


def test_palettes_become_one_channel_for_each_colour_wherever_it_stands_in_them(tmp_path):
    one = Image.fromarray(np.repeat([[0, 0, 1, 1, 2, 2]], 6, axis=0).astype(np.uint8), "P")
    one.putpalette([*RED, *GREEN, *BLACK])
    other = Image.fromarray(np.repeat([[2, 2, 2, 0, 0, 0]], 6, axis=0).astype(np.uint8), "P")
    other.putpalette([*RED, *BLUE, *GREEN])
    one.save(tmp_path / "one.png")
    other.save(tmp_path / "other.png")
    with pytest.warns(UserWarning, match="#000000 .33%. has no partner"):
        first, (second,) = read_maps(str(tmp_path / "one.png"), [str(tmp_path / "other.png")], [None, None])
    assert first.shape == (6, 6, 3) and second.shape == (6, 6, 3)
    np.testing.assert_array_equal(first.sum(-1), 1)
    np.testing.assert_array_equal(first[0, 0], second[0, 5])  # red, first in the one and last in the other
    np.testing.assert_array_equal(first[0, 2], second[0, 0])  # green
    assert not np.any(np.all(second == first[0, 5], axis=-1)), "black is not in the other"


def test_labels_gather_the_smoothed_edges_between_them():
    values = flat(RED, GREEN, size=(50, 40)) / np.float32(255)
    values[:, 19:21] = [[0.6, 0.4, 0], [0.45, 0.55, 0]]  # below LEAST_SHARE each row, but not in all
    values[:25, 19] = [0.97, 0.02, 0.01]
    labels = labels_of(np.tile(values, (1, 1, 1)))
    assert {label.name for label in labels} >= {"#ff0000", "#00ff00"}
    assert abs(sum(label.share for label in labels) - 1) < 1e-6
    assert labels[0].share >= labels[-1].share
    numbers = label_numbers(values, labels)
    assert labels[numbers[30, 0]].name == "#ff0000" and labels[numbers[0, 19]].name == "#ff0000"


def test_maps_beside_pictures_are_found_if_each_has_one(tmp_path):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        write(tmp_path / name, photo())
    a, b, c = (str(tmp_path / name) for name in ("a.jpg", "b.jpg", "c.jpg"))
    assert sem_path(a) is None
    for name in ("a", "b"):
        write(tmp_path / f"{name}_sem.png", flat(RED, GREEN, size=(64, 80)))
    files, found = with_found_maps(Files(content=a, styles=(b,)))
    assert files.content_map == str(tmp_path / "a_sem.png") and found[1] == str(tmp_path / "b_sem.png")
    references = load_references(files)
    assert references.content_map.shape == (64, 80, 3) and len(references.style_maps) == 1
    with pytest.warns(UserWarning, match="left aside, because .*c.jpg has no map"):
        assert with_found_maps(Files(content=a, styles=(c,)))[1] == ()
    given = Files(content=a, styles=(b,), content_map="x", style_maps=("y",))
    assert with_found_maps(given)[0] is given


def pair(folder, one, other, **options):
    return [write(folder / "one.png", one), write(folder / "other.png", other, **options)]


def refused(folder, case):
    """What goes wrong with the maps of a case, which writes a content map and then style maps."""
    content_map, *style_maps = case(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(JaxstyleError) as error:
            read_maps(content_map, style_maps, [None, None])
    return str(error.value)


def text_file(folder):
    (folder / "x.png").write_text("not a picture")
    return [str(folder / "x.png")] * 2


def truncated(folder):
    name = write(folder / "x.png", photo())
    (folder / "x.png").write_bytes((folder / "x.png").read_bytes()[:200])
    return [name] * 2


def numbers(folder):
    return pair(folder, flat((0,), (1,), (2,)), flat((0,), (1,), (2,)))


def numbers_of_16_bits(folder):
    words = np.repeat([[0, 1, 2, 3]], 4, axis=0).astype(np.uint16)
    Image.fromarray(words).save(folder / "x.png")
    return [str(folder / "x.png")] * 2


def cmyk(folder):
    Image.fromarray(flat(RED, GREEN)).convert("CMYK").save(folder / "x.jpg")
    return [str(folder / "x.jpg")] * 2


@pytest.mark.parametrize(("case", "message"), [
    (lambda f: [str(f / "none.png")] * 2, "no such file"),
    (lambda f: [str(f)] * 2, "is a folder"),
    (text_file, "is not a JPEG, PNG"),
    (truncated, "cannot be decoded"),
    (lambda f: pair(f, flat(RED, GREEN), flat((255,), (0,))),
     "3 in .*one.png .RGB: #ff0000 50%, #00ff00 50%.; 1 in"),
    (lambda f: pair(f, flat((*RED, 0), (*RED, 255)), flat(RED, GREEN)),
     "differ in their number of channels: 4"),
    (lambda f: pair(f, flat(RED, GREEN), flat(BLUE, WHITE)), "no label in common: .*#ff0000.*#0000ff"),
    (lambda f: pair(f, flat(BLACK, BLACK), flat(BLACK, BLACK)), "#000000 everywhere, which steers nothing"),
    (lambda f: pair(f, flat(WHITE, WHITE), flat(WHITE, WHITE)), "#ffffff everywhere"),
    (numbers, "nearly black, as if it held the numbers of labels"),
    (numbers_of_16_bits, "nearly black"),
    (cmyk, "CMYK has no definite colours"),
    (lambda f: pair(f, flat(RED, GREEN), flat(RED, GREEN))[:1], "0 style maps for 1 style images"),
    (lambda f: [write(f / "a.png", flat(BLACK, BLACK)), write(f / "b.png", flat(RED, GREEN))],
     "no label in common"),
])
def test_bad_maps_are_refused_in_one_line(tmp_path, case, message):
    import re

    said = refused(tmp_path, case)
    assert re.search(message, said) and "\n" not in said, said


def warned(content_map, style_map, images=(None, None)):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        read_maps(content_map, [style_map], list(images))
    return [str(warning.message) for warning in found]


def test_lossy_maps_and_photos_are_recognised(tmp_path):
    drawn = flat(RED, GREEN, BLUE, WHITE, (255, 153, 0), size=(96, 120))
    good = write(tmp_path / "good.png", drawn)
    noisy = drawn.copy()
    for k in range(8):  # small islands, as maps have
        noisy[10 * k : 10 * k + 6, 15 * k : 15 * k + 8] = (BLUE, RED)[k % 2]
    jpeg = write(tmp_path / "map.jpg", noisy, quality=40)
    assert lossy(read_map(good).values) is None
    said = warned(good, jpeg)
    assert len(said) == 1 and "map.jpg: looks like a photo or a lossy file" in said[0]
    assert "only 0% of it flat" in lossy(photo((128, 128)) / np.float32(255))


def test_sizes_aspects_and_missing_partners_are_mentioned(tmp_path):
    one, other = pair(tmp_path, flat(RED, GREEN, BLUE), flat(RED, GREEN, WHITE))
    picture = ("photo.jpg", np.zeros((24, 32, 3)))
    assert any("one.png: #0000ff (31%) has no partner" in text or "#0000ff (" in text
               for text in warned(one, other))
    assert any("has 16×12 pixels and photo.jpg 32×24; the map is resized" in text
               for text in warned(one, other, (picture, None)))
    wide = ("wide.jpg", np.zeros((12, 32, 3)))
    assert any("stretched to another aspect" in text for text in warned(one, other, (None, wide)))
    assert not any("stretched" in text or "resized" in text
                   for text in warned(one, one, (("p", np.zeros((12, 16, 3))), None)))


def test_maps_of_references_need_a_content_map(tmp_path):
    picture, semantic = write(tmp_path / "p.png", photo()), write(tmp_path / "m.png", flat(RED, GREEN))
    with pytest.raises(JaxstyleError, match="give a content map"):
        load_references(Files(content=picture, styles=(picture,), style_maps=(semantic,)))


def test_joined_maps_of_equal_files_are_equal(tmp_path):
    semantic = read_map(write(tmp_path / "m.png", flat(RED, GREEN)))
    first, second = joined([semantic, semantic])
    np.testing.assert_array_equal(first, second)
