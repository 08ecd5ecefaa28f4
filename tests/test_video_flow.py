"""Warping, masks of consistency, flow files, flicker, and the temporal term: against loops and true flow."""

from __future__ import annotations

import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from clips import moving, script
from jax.test_util import check_grads
from PIL import Image

from jaxstyle.errors import JaxstyleError
from jaxstyle.losses import Temporal, temporal_loss
from jaxstyle.losses.temporal import long_term_weights
from jaxstyle.metrics.flicker import flicker, per_second
from jaxstyle.ops.warp import inside, warp, warp_cubic
from jaxstyle.references import References
from jaxstyle.video.estimate import cached, estimate, given
from jaxstyle.video.files.frames import Frame
from jaxstyle.video.flo import read_flo, write_flo
from jaxstyle.video.flow import consistency, disoccluded, motion_boundaries, resize_flow, soften


def looped_warp(image, flow):
    """The definition, pixel by pixel."""
    height, width, _ = flow.shape
    result = np.empty_like(image)
    for y in range(height):
        for x in range(width):
            across = min(max(x + flow[y, x, 0], 0), width - 1)
            down = min(max(y + flow[y, x, 1], 0), height - 1)
            left, top = int(np.floor(across)), int(np.floor(down))
            value = 0
            for j, share_y in ((top, 1 - (down - top)), (top + 1, down - top)):
                for i, share_x in ((left, 1 - (across - left)), (left + 1, across - left)):
                    value = value + share_y * share_x * image[min(j, height - 1), min(i, width - 1)]
            result[y, x] = value
    return result


def looped_consistency(backward, forward):
    height, width, _ = backward.shape
    onwards = looped_warp(forward, backward)
    occluded, edge = np.zeros((height, width), bool), np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            w, back = onwards[y, x], backward[y, x]
            total = (w[0] + back[0])**2 + (w[1] + back[1])**2
            lengths = w @ w + back @ back
            out = not (0 <= x + back[0] <= width - 1 and 0 <= y + back[1] <= height - 1)
            occluded[y, x] = out or total >= 0.01 * lengths + 0.5
            right, left = backward[y, min(x + 1, width - 1)], backward[y, max(x - 1, 0)]
            below, above = backward[min(y + 1, height - 1), x], backward[max(y - 1, 0), x]
            steep = (((right - left) / 2)**2).sum() + (((below - above) / 2)**2).sum()
            edge[y, x] = steep > 0.01 * (back @ back) + 0.002
    return occluded, edge


@pytest.fixture
def flows():
    rng = np.random.default_rng(0)
    forward = np.zeros((9, 12, 2))
    forward[..., 0] = 1.3
    forward[3:6, 4:8] = (-0.7, 2.2)
    return -forward + rng.normal(0, 0.02, forward.shape), forward


def test_warp_is_the_loop_and_clamps_at_borders(x64):
    rng = np.random.default_rng(1)
    image, flow = rng.random((9, 12, 3)), rng.normal(0, 6, (9, 12, 2))
    moved = warp(jnp.asarray(image), jnp.asarray(flow))
    np.testing.assert_allclose(moved, looped_warp(image, flow), rtol=1e-12)
    np.testing.assert_array_equal(warp(jnp.asarray(image), jnp.zeros((9, 12, 2))), image)
    check_grads(lambda i: warp(i, jnp.asarray(flow)), (jnp.asarray(image),), order=1, modes=["rev"])
    np.testing.assert_array_equal(inside(jnp.full((2, 2, 2), 1e10)), False)


def looped_cubic(image, flow):
    height, width, _ = flow.shape
    result = np.zeros_like(image)
    for y in range(height):
        for x in range(width):
            across = min(max(x + flow[y, x, 0], 0), width - 1)
            down = min(max(y + flow[y, x, 1], 0), height - 1)
            for j in range(int(np.floor(down)) - 1, int(np.floor(down)) + 3):
                for i in range(int(np.floor(across)) - 1, int(np.floor(across)) + 3):
                    near = image[min(max(j, 0), height - 1), min(max(i, 0), width - 1)]
                    result[y, x] += kernel(down - j) * kernel(across - i) * near
    return result


def kernel(distance):
    """Keys' cubic convolution with a = −1/2, another form of Catmull–Rom."""
    d = abs(distance)
    return 1.5 * d**3 - 2.5 * d**2 + 1 if d <= 1 else -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0


def test_cubic_warp_is_the_loop_and_keeps_more_detail_than_the_linear_one(x64):
    rng = np.random.default_rng(4)
    image, flow = rng.random((9, 12, 3)), rng.normal(0, 6, (9, 12, 2))
    moved = warp_cubic(jnp.asarray(image), jnp.asarray(flow))
    np.testing.assert_allclose(moved, looped_cubic(image, flow), rtol=1e-9, atol=1e-12)
    half = jnp.full((9, 12, 2), 0.5)
    assert warp_cubic(jnp.asarray(image), half).var() > 1.5 * warp(jnp.asarray(image), half).var()


def test_masks_are_the_paper_s_formulas(x64, flows):
    backward, forward = map(jnp.asarray, flows)
    occluded, edge = looped_consistency(*flows)
    assert 0 < occluded.mean() < 1 and 0 < edge.mean() < 1
    np.testing.assert_array_equal(disoccluded(backward, forward), occluded)
    np.testing.assert_array_equal(motion_boundaries(backward), edge)
    np.testing.assert_array_equal(consistency(backward, forward), ~(occluded | edge))


def test_masks_are_those_of_the_authors_program(shared):
    folder = shared / "images/video/marple8/flow"
    for i in (1, 3):
        backward, forward = (jnp.asarray(read_flo(folder / name))
                             for name in (f"backward_{i + 1}_{i}.flo", f"forward_{i}_{i + 1}.flo"))
        theirs = np.asarray(Image.open(folder / f"reliable_{i + 1}_{i}.pgm")) > 127
        assert ((consistency(backward, forward) > 0.5) == theirs).mean() > 0.998


def test_true_flow_takes_the_second_frame_to_the_first(shared):
    folder = shared / "images/video/flyingchairs"
    for name in ("0", "1"):
        first, second = (np.asarray(Image.open(folder / f"{name}img{i}.ppm"), np.float32) / 255
                         for i in (0, 1))
        moved = np.asarray(warp(jnp.asarray(second), jnp.asarray(read_flo(folder / f"{name}flow.flo"))))
        apart, before = np.abs(moved - first).mean(-1), np.abs(second - first).mean(-1)
        assert np.median(apart) < 0.01 and apart.mean() < 0.6 * before.mean()


def test_estimates_are_near_true_flow_where_they_are_trusted(shared):
    folder = shared / "images/video/flyingchairs"
    first, second = (np.asarray(Image.open(folder / f"1img{i}.ppm")) for i in (0, 1))
    onwards = estimate(second, first)  # from the first to the second frame
    true = read_flo(folder / "1flow.flo")
    apart = np.sqrt(((onwards[0] - true)**2).sum(-1))
    trusted = np.asarray(consistency(jnp.asarray(onwards[0]), jnp.asarray(onwards[1]))) > 0
    assert trusted.mean() > 0.8 and (apart[trusted] < 1).mean() > 0.88
    assert apart[trusted].mean() < 0.5 * apart[~trusted].mean()


def test_the_drawn_clip_has_the_flow_that_it_says():
    clip = script("draw_clip")
    before, after = clip.draw(10, 96, 128), clip.draw(11, 96, 128)
    backward, seen = clip.flow(11, 10, 96, 128)
    forward, _ = clip.flow(10, 11, 96, 128)
    moved = np.asarray(warp(jnp.asarray(before), jnp.asarray(backward)))
    apart = np.abs(moved - after).mean(-1)
    assert apart[seen].mean() < 0.01 < 0.03 < apart[~seen].mean() and 0.9 < seen.mean() < 1
    found = np.asarray(disoccluded(jnp.asarray(backward), jnp.asarray(forward)))
    assert (found == ~seen).mean() > 0.99


def test_estimates_are_kept_and_damaged_ones_made_again(tmp_path):
    earlier, later = (Frame(i, i, image) for i, image in enumerate(moving(2), 1))
    made = cached(tmp_path, earlier, later)
    file, = tmp_path.iterdir()
    assert abs(np.median(made[0][..., 0]) - 2) < 0.2 and abs(np.median(made[1][..., 0]) + 2) < 0.2
    stamp = file.stat().st_mtime_ns
    np.testing.assert_array_equal(cached(tmp_path, earlier, later), made)
    assert file.stat().st_mtime_ns == stamp
    file.write_bytes(file.read_bytes()[:100])
    np.testing.assert_array_equal(cached(tmp_path, earlier, later), made)
    assert file.stat().st_size > 100


def test_flow_files_come_back_and_fit_the_frames(tmp_path):
    flow = np.random.default_rng(0).normal(size=(24, 32, 2)).astype(np.float32)
    write_flo(tmp_path / "backward_2_1.flo", flow)
    write_flo(tmp_path / "forward_1_2.flo", -flow)
    np.testing.assert_array_equal(read_flo(tmp_path / "backward_2_1.flo"), flow)
    frames = [Frame(i, i, np.zeros((12, 16, 3), np.uint8)) for i in (1, 2)]
    backward, forward = given(tmp_path, *frames)
    assert backward.shape == (12, 16, 2)
    np.testing.assert_allclose(backward, -forward, atol=1e-6)
    constant = resize_flow(jnp.full((24, 32, 2), 4.0), 12, 8)
    np.testing.assert_allclose(constant, np.broadcast_to([1.0, 2.0], (12, 8, 2)), rtol=1e-6)
    with pytest.raises(JaxstyleError, match="proportions"):
        given(tmp_path, *(Frame(i, i, np.zeros((16, 12, 3), np.uint8)) for i in (1, 2)))


@pytest.mark.parametrize(("data", "message"), [
    (b"", "not a flow file"), (b"PIEX" + bytes(16), "not a flow file"), (b"PIEH\1\0", "not a flow file"),
    (b"PIEH" + struct.pack("<ii", 4, 4) + bytes(100), "truncated"),
    (b"PIEH" + struct.pack("<ii", 1, 1) + bytes(12), "longer"),
    (b"PIEH" + struct.pack("<ii", 2**30, 2**30), "damaged"), (b"PIEH" + struct.pack("<ii", -1, 4), "damaged"),
    (b"PIEH" + struct.pack("<iiff", 1, 1, np.nan, 0), "not finite"),
])
def test_bad_flow_files_are_refused(tmp_path, data, message):
    (tmp_path / "bad.flo").write_bytes(data)
    with pytest.raises(JaxstyleError, match=message):
        read_flo(tmp_path / "bad.flo")


def test_soft_masks_stay_inside():
    mask = np.ones((12, 14), np.float32)
    mask[4, 5] = 0
    soft = np.asarray(soften(jnp.asarray(mask), 2))
    assert soft[4, 5] == 0 and soft[0, 13] == 1 and 0 < soft[4, 8] < 1 and soft.max() <= 1 + 1e-6


def test_temporal_loss_is_the_loop_with_a_real_gradient(x64):
    rng = np.random.default_rng(2)
    image, warped, weights = rng.random((5, 6, 3)), rng.random((5, 6, 3)), rng.random((5, 6))
    total = sum(weights[y, x] * (image[y, x, c] - warped[y, x, c])**2
                for y in range(5) for x in range(6) for c in range(3)) / (5 * 6 * 3)
    arrays = tuple(map(jnp.asarray, (image, warped, weights)))
    np.testing.assert_allclose(temporal_loss(*arrays), total, rtol=1e-12)
    gradient = jax.grad(temporal_loss)(*arrays)
    np.testing.assert_allclose(gradient, 2 * weights[..., None] * (image - warped) / 90, rtol=1e-12)
    earlier = jnp.concatenate([arrays[1], arrays[2][..., None]], -1)
    term = Temporal()
    target = term.target(References(earlier=(earlier, earlier)), None)
    np.testing.assert_allclose(term.loss(arrays[0], {}, target), 2 * total, rtol=1e-12)
    assert term.loss(arrays[0], {}, term.target(References(), None)) == 0
    with pytest.raises(JaxstyleError, match="H, W, 4"):
        term.target(References(earlier=(arrays[1],)), None)


def test_far_frames_count_only_where_no_closer_one_does():
    near, middle, far = (jnp.asarray([values], jnp.float32)
                         for values in ([1, 0, .5, 0], [1, 1, 1, 0], [1, 1, 1, 1]))
    found = long_term_weights([near, middle, far])
    np.testing.assert_allclose(np.concatenate(found), [[1, 0, .5, 0], [0, 1, .5, 0], [0, 0, 0, 1]])


def test_flicker_is_zero_for_what_only_moves(x64):
    rng = np.random.default_rng(3)
    wide = rng.random((8, 20, 3))
    previous, current = jnp.asarray(wide[:, :16]), jnp.asarray(wide[:, 2:18])
    backward = jnp.broadcast_to(jnp.asarray([2.0, 0.0]), (8, 16, 2))
    seen = inside(backward).astype(jnp.float64)
    assert flicker(previous, current, backward, seen) < 1e-12
    noisy = current + 0.1
    np.testing.assert_allclose(flicker(previous, noisy, backward, seen), 0.1, rtol=1e-9)
    assert flicker(previous, noisy, backward, jnp.zeros((8, 16))) == 0
    assert per_second([0.1, 0.9, 1.5], [1, 3, 5]) == [(0, 2.0), (1, 5.0)]
