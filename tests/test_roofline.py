"""The counted FLOPs and bytes of the benchmarks' rows."""

import jax
import pytest
from jax import lax

from benchmarks import common
from benchmarks.roofline_parts import conv, has_winograd, parts
from benchmarks.rows import WORK, Row


@pytest.mark.parametrize("name", [name for name in WORK if common.flops(name, 64)])
def test_direct_flops_are_those_of_the_plain_computation(name):
    extra = ("Gram", "content", "pooling", "norms", "sums")
    found = sum(part.direct for part in parts(Row(name, 128, "float32")) if not part.name.startswith(extra))
    expected = common.flops(name, 128)
    if name == "fast-training":
        # The quick formula lets the photo go up to conv4_1 and counts a gradient of the network's input.
        conv3_4, conv4_1 = 2 * 32**2 * 9 * 256 * 256, 2 * 16**2 * 9 * 256 * 512
        expected -= common.BATCH * (conv3_4 + conv4_1 + 2 * 128**2 * 81 * 3 * 32)
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("k, i, o, stride", [(3, 8, 16, 1), (9, 3, 8, 1), (3, 8, 16, 2)])
def test_a_convolution_has_the_flops_that_the_compiler_counts(k, i, o, stride):
    side = 32
    pads = [(k // 2, k - 1 - k // 2)] * 2
    program = jax.jit(lambda x, w: lax.conv_general_dilated(
        x, w, (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")))
    cost = program.lower(jax.ShapeDtypeStruct((1, side, side, i), "float32"),
                         jax.ShapeDtypeStruct((k, k, i, o), "float32")).compile().cost_analysis()
    [part] = conv(side // stride, k, i, o, "f", False, before=side)
    # The compiler leaves out the products with padding.
    assert 0.7 * part.flops < cost["flops"] <= part.flops


def test_winograd_saves_arithmetic_and_costs_traffic():
    [direct] = conv(32, 3, 256, 256, "f", False, before=32)
    products, transforms = conv(32, 3, 256, 256, "f", False)
    assert products.flops == pytest.approx(direct.flops / 2.25)
    assert products.least == direct.least
    assert products.moved + transforms.moved > 4 * direct.moved
    pairs = ((64, 64), (64, 128), (32, 128))
    assert [has_winograd(3, *pair, False) for pair in pairs] == [False, True, False]
    assert [has_winograd(3, *pair, True) for pair in pairs] == [True, True, False]
    assert not has_winograd(9, 256, 256, True)
