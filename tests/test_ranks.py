"""No array is stretched to more axes unasked (`jax_numpy_rank_promotion`): that hides mistakes in shapes.

Everything is traced, and nothing compiled.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstyle import References, Stage, recipes, replace
from jaxstyle.backbones import ARCHITECTURES, VGG, build
from jaxstyle.backbones.perceptual import random_weights
from jaxstyle.fast.network import NORMS, UPSAMPLING, StyleNetwork
from jaxstyle.ops.warp import warp, warp_cubic
from jaxstyle.solvers import SOLVERS
from jaxstyle.transfer.inputs import sized
from jaxstyle.transfer.presets import catalogue
from jaxstyle.transfer.program import Program, network_for
from jaxstyle.video.flow import disoccluded, resize_flow

DEEP = VGG(blocks=((4, 4), (4, 4), (4,) * 4, (4,) * 4, (4,)), border="reflect")


@pytest.fixture(autouse=True, params=["fast", "reference"])
def strict(request, monkeypatch):
    monkeypatch.setenv("JAXSTYLE_OPS", request.param)
    with jax.numpy_rank_promotion("raise"):
        yield
    jax.clear_caches()


def shape(*sides):
    return jax.ShapeDtypeStruct(sides, jnp.float32)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_networks(name):
    network = build(name, {})
    jax.eval_shape(lambda x: network.init(jax.random.key(0), x, (network.layers[-1],)), shape(160, 128, 3))


def trace(recipe):
    """Targets, first evaluation and steps of a recipe."""
    rng = np.random.default_rng(0)
    photo, painting = (rng.random((80, 96, 3), np.float32) for _ in range(2))
    references = References(content=photo, styles=(painting,), content_map=photo, style_maps=(painting,))
    recipe = replace(recipe, {"stages": (Stage(size=96, steps=2),)})
    fitted = sized(references, recipe.stages[0], recipe.style_scale)
    program = Program(network_for(random_weights(0, DEEP), recipe), fitted, recipe, 0)
    _, targets, search, _ = program._shapes()
    jax.eval_shape(lambda *given: program.advance(*given, 1), program.weights, targets, search)


@pytest.mark.parametrize("name", catalogue())
def test_recipes(name):
    trace(recipes.named(name))


@pytest.mark.parametrize("solver", SOLVERS)
def test_solvers(solver):
    trace(replace(recipes.GATYS_2015, {"solver": solver()}))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("upsample", UPSAMPLING)
def test_fast_networks(norm, upsample):
    network = StyleNetwork(width=4, depth=1, norm=norm, upsample=upsample, output_norm=norm == "instance",
                           styles=2 if norm == "conditional" else 1)
    image = shape(30, 33, 3)
    params = jax.eval_shape(lambda x: network.init(jax.random.key(0), x), image)
    for style in (None, shape(network.styles), shape(30, 33, network.styles)):
        assert jax.eval_shape(network.apply, params, image, style).shape == image.shape


def test_optical_flow():
    image, flow = shape(16, 20, 3), shape(16, 20, 2)
    assert jax.eval_shape(warp, image, flow).shape == jax.eval_shape(warp_cubic, image, flow).shape
    assert jax.eval_shape(lambda flow: resize_flow(flow, 8, 10), flow).shape == (8, 10, 2)
    assert jax.eval_shape(disoccluded, flow, flow).shape == (16, 20)
