"""Properties that hold for any input: JSON of pytrees, shapes of resized pictures, decoding of pictures."""

import dataclasses
import io
import json

import jax
import numpy as np
import picturefiles as files
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import load, save
from jaxstyle.ops.resize import fit_shape
from jaxstyle.pytrees import from_json, get, paths, pytree, replace, static, to_json

SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
SIDES = st.integers(1, 5000)


@pytree
class Leaf:
    rate: float = 1.0
    pair: tuple[float, ...] = (1.0,)
    name: str = static(default="x")
    count: int | None = static(default=None)


@pytree
class Branch:
    parts: dict
    leaf: Leaf = Leaf()
    more: tuple[Leaf, ...] = ()


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.builds(Leaf, rate=FLOATS,
                   pair=st.lists(FLOATS, min_size=1, max_size=3).map(tuple), name=st.text("abcé{}[]\"\n"),
                   count=st.none() | st.integers(-9, 9))
NAMES = st.text("abcdefgh_", min_size=1).filter(lambda name: name != "type")
TREES = st.recursive(LEAVES, lambda inner: st.builds(
    Branch, parts=st.dictionaries(NAMES, inner, max_size=3), leaf=LEAVES,
    more=st.lists(LEAVES, max_size=2).map(tuple)), max_leaves=6)


@given(TREES)
def test_a_tree_comes_back_from_json(tree):
    again = from_json(json.loads(json.dumps(to_json(tree))), (Leaf, Branch))
    assert again == tree
    assert jax.tree.structure(again) == jax.tree.structure(tree)


@given(TREES, FLOATS)
def test_every_path_can_be_read_and_replaced(tree, value):
    for path, old in paths(tree).items():
        assert get(tree, path) == old
        assert replace(tree, {path: old}) == tree
        if isinstance(old, float):
            changed = replace(tree, {path: value})
            assert get(changed, path) == value
            assert jax.tree.structure(changed) == jax.tree.structure(tree)


@given(TREES, st.text("abc", min_size=1))
def test_an_unknown_field_is_refused(tree, name):
    data = to_json(tree)
    known = {field.name for field in dataclasses.fields(tree)} | {"type"}
    if name not in known:
        with pytest.raises(JaxstyleError, match=f"has no field '{name}'"):
            from_json({**data, name: 1}, (Leaf, Branch))


@given(SIDES, SIDES, st.integers(1, 3000), st.sampled_from(["longer", "shorter", "area"]))
def test_a_resized_picture_keeps_its_proportions(height, width, size, by):
    rows, columns = fit_shape(height, width, size, by)
    assert rows >= 1 and columns >= 1
    exact = {"longer": size / max(height, width), "shorter": size / min(height, width),
             "area": size / (height * width) ** 0.5}[by]
    assert abs(rows - max(1, height * exact)) <= 1 and abs(columns - max(1, width * exact)) <= 1
    if by != "area":
        side = max(rows, columns) if by == "longer" else min(rows, columns)
        assert side == size
    assert fit_shape(width, height, size, by) == (columns, rows)


PIXELS = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))


@SAME_FOLDER
@given(PIXELS, st.sampled_from(["png", "tiff", "webp"]))
def test_eight_bits_survive_a_file(tmp_path, pixels, suffix):
    path = tmp_path / f"a.{suffix}"
    save(path, pixels.astype(np.float32) / 255, quality=100)
    np.testing.assert_array_equal(np.rint(load(path) * 255), pixels)


@SAME_FOLDER
@given(hnp.arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))), st.booleans())
def test_sixteen_bits_are_read_exactly(tmp_path, pixels, interlaced):
    path = tmp_path / "a.png"
    path.write_bytes(files.png_bytes(pixels, 2, 16, interlaced=interlaced))
    np.testing.assert_array_equal(load(path), (pixels / 65535).astype(np.float32))


@SAME_FOLDER
@given(PIXELS, st.sampled_from(["PNG", "JPEG", "TIFF", "WEBP", "GIF"]), st.data())
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_is_a_picture_or_one_line(tmp_path, pixels, kind, data):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        found = load(path)
    except JaxstyleError as error:
        assert "\n" not in str(error)
    else:
        assert found.ndim == 3 and found.shape[2] == 3 and found.dtype == np.float32
        assert found.min() >= 0 and found.max() <= 1
