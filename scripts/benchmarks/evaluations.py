"""One variant of one row of scripts/benchmark.py in JAX, on the project's own operations.

    python -m benchmarks.evaluations ROW SIZE PRECISION FORM

FORM is "call" (one evaluation per call) or "loop" (four inside one program, as the
solvers do).
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from benchmarks import common
from jaxstyle import ops
from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import Weights
from jaxstyle.losses import Content, Gram
from jaxstyle.losses.patches.energy import nearest_patch_loss
from jaxstyle.losses.patches.matching import Search, candidates
from jaxstyle.references import References
from jaxstyle.transfer.objective import objective, targets

LOOP = 4
GATYS = {"content": Content(), "style": Gram(layer_weights=(1.0,) * 5, normalization="gatys-notebook")}


def relu(names: tuple[str, ...] | str) -> Any:
    """The rectified layers of the named convolutions."""
    return names.replace("conv", "relu") if isinstance(names, str) else tuple(map(relu, names))


def raw_weights() -> Weights:
    """VGG-19 up to conv5_1 with the random kernels that torch gets, too."""
    params = {name: {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(kernel.shape[3])}
              for name, kernel in common.vgg_kernels().items()}
    return Weights(params=params, matrix=jnp.eye(3), offset=jnp.zeros(3),
                   network=VGG(common.VGG19, last="relu5_1"), name="random")


def weights(precision: str) -> Weights:
    """The same, prepared."""
    return raw_weights().prepared(precision)


def compiled(function: Any, *args: Any) -> tuple[Any, float]:
    """The compiled program with its seconds of compilation."""
    start = time.perf_counter()
    program = jax.jit(function).lower(*args).compile()
    return program, time.perf_counter() - start


def gatys(size: int, precision: str, form: str) -> tuple:
    """Loss and gradient of content plus Gram losses."""
    terms, network = GATYS, weights(precision)
    content, style, start = (jnp.asarray(common.image(size, seed)) for seed in (1, 2, 3))
    goal = jax.jit(targets)(network, References(content=content, styles=(style,)), terms)
    loss = jax.value_and_grad(lambda x, network, goal: objective(network, terms, goal, x)[0])

    def loop(x: Array, network: Weights, goal: Any) -> tuple[Array, Array]:
        return lax.scan(lambda x, _: (x - 1e-9 * loss(x, network, goal)[1], None), x, None, LOOP)[0]

    program, seconds = compiled(loss if form == "call" else loop, start, network, goal)
    value, gradient = jax.jit(loss)(start, network, goal)
    check = float(value + jnp.linalg.norm(gradient))
    count = 1 if form == "call" else LOOP
    return lambda: jax.block_until_ready(program(start, network, goal)), count, seconds, check


def patches(size: int, precision: str, block: int) -> tuple:
    """Nearest patches of one layer."""
    x, style = (jnp.asarray(common.features(size, block, seed)) for seed in (1, 2))
    program, seconds = compiled(lambda x, y: ops.nearest_patches(x, y, 3, precision), x, style)
    check = float(jnp.mean(program(x, style)[1]))
    return lambda: jax.block_until_ready(program(x, style)), 1, seconds, check


def patch_term(size: int, copies: int) -> tuple:
    """Value and gradient of the patch term at conv3_1 and conv4_1, with maps, over copies of the style."""
    given = [[jax.tree.map(jnp.asarray, common.guided(size, block, seed)) for seed in range(1 + copies)]
             for block in (3, 4)]

    def loss(features: list[Array], given: Any) -> Array:
        losses = [nearest_patch_loss(x, layer[0][1], [candidates(*zip(*layer[1:]))], Search(size=3))
                  for x, layer in zip(features, given)]
        return sum(losses, start=jnp.zeros(()))

    program, seconds = compiled(jax.value_and_grad(loss), [layer[0][0] for layer in given], given)
    features = [layer[0][0] for layer in given]
    check = float(program(features, given)[0])
    return lambda: jax.block_until_ready(program(features, given)), 1, seconds, check


def fast_params() -> dict[str, dict[str, Array]]:
    """Kernels without bias effect, and the affine part of the instance norm."""
    return {name: {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(kernel.shape[3]),
                   "scale": jnp.ones(kernel.shape[3]), "shift": jnp.zeros(kernel.shape[3])}
            for name, kernel in common.fast_kernels().items()}


def fast_network(params: dict[str, dict[str, Array]], x: Array) -> Array:
    """The transformation network of one image `[H, W, 3]` as a bare stack of layers."""
    skip = x
    for name, _, _, _, stride, up in common.FAST_NETWORK:
        if name.startswith("r") and name.endswith("a"):
            skip = x
        layer = params[name]
        if up == 2:
            x = ops.upsample_conv(x, layer, border="reflect")
        else:
            x = ops.conv(x, layer, border="reflect", stride=stride)
        if name == "out":
            return x
        mean = jnp.mean(x, (0, 1))
        variance = jnp.mean(jnp.square(x - mean), (0, 1))
        x = (x - mean) * (lax.rsqrt(variance + 1e-5) * layer["scale"]) + layer["shift"]
        x = x + skip if name.startswith("r") and name.endswith("b") else jax.nn.relu(x)
    return x


def fast_inference(size: int, precision: str) -> tuple:
    """One image through the transformation network."""
    params = ops.prepare(fast_params(), precision)
    x = jnp.asarray(common.image(size, 1))
    program, seconds = compiled(fast_network, params, x)
    check = float(jnp.mean(jnp.abs(program(params, x))))
    return lambda: jax.block_until_ready(program(params, x)), 1, seconds, check


def fast_training(size: int, precision: str) -> tuple:
    """One Adam step on a batch: perceptual loss, gradient of all weights."""
    params, network = fast_params(), weights(precision)
    xs = jnp.stack([jnp.asarray(common.image(size, seed)) for seed in range(common.BATCH)])
    layers, content = relu(common.FAST_STYLE), relu(common.FAST_CONTENT)
    style = network.features(jnp.asarray(common.image(size, 9)), layers)
    goal = {layer: ops.gram(style[layer]) / style[layer].size for layer in layers}
    adam = optax.adam(1e-3)

    def loss(params: Any, x: Array, network: Weights, goal: Any) -> Array:
        found = network.features(fast_network(ops.prepare(params, precision), x), layers)
        wanted = network.features(x, (content,))[content]
        total = jnp.mean(jnp.square(found[content] - wanted))
        return total + sum(ops.squared_gram_distance(found[layer], goal[layer], 1 / found[layer].size)
                           for layer in layers)

    def step(params: Any, state: Any, xs: Array, network: Weights, goal: Any) -> tuple:
        # One image after the other: on a CPU faster than a batch, and half of the memory.
        def add(total: Any, x: Array) -> tuple[Any, None]:
            found = jax.value_and_grad(loss)(params, x, network, goal)
            return jax.tree.map(lambda a, b: a + b / common.BATCH, total, found), None

        zero = jax.tree.map(jnp.zeros_like, (jnp.zeros(()), params))
        (value, gradient), _ = lax.scan(add, zero, xs)
        updates, state = adam.update(gradient, state)
        return optax.apply_updates(params, updates), state, value

    args = (params, adam.init(params), xs, network, goal)
    program, seconds = compiled(step, *args)
    return lambda: jax.block_until_ready(program(*args)), 1, seconds, float(program(*args)[2])


def peaks() -> dict[str, float]:
    """GFLOP/s of a matrix product with 2048 rows, GB/s of adding to a large array, each in a loop.

    "of one core" is per CPU second, which other programs disturb little; the rest is by the wall clock and
    thus of all cores.
    """
    found = {}

    def note(name: str, amount: float, program: Any, x: Array) -> None:
        for clock, whose in ((time.process_time, f"{name} of one core"), (time.perf_counter, name)):
            found[whose] = amount / best(clock, program, x) / 1e9

    for name, dtype in (("float32", jnp.float32), ("bfloat16", jnp.bfloat16)):
        a = jax.random.normal(jax.random.key(0), (2048, 2048)).astype(dtype)
        dot = partial(jnp.matmul, preferred_element_type=jnp.float32)
        program, _ = compiled(lambda a, dot=dot: lax.fori_loop(
            0, 8, lambda i, b: (1e-3 * dot(a, b)).astype(a.dtype), a), a)
        note(f"{name} GFLOP/s", 8 * 2 * 2048**3, program, a)
    x = jnp.ones(1 << 26)
    program, _ = compiled(lambda x: lax.fori_loop(0, 8, lambda i, x: x + 1, x), x)
    note("memory GB/s", 8 * 2 * x.nbytes, program, x)
    return found


def best(clock: Any, program: Any, *args: Any) -> float:
    """Least seconds of five calls."""
    times = []
    for _ in range(5):
        start = clock()
        jax.block_until_ready(program(*args))
        times.append(clock() - start)
    return min(times)


def main() -> None:
    """Serve the variant that the arguments name."""
    if sys.argv[1] == "peaks":
        print(json.dumps(peaks()))
        return
    row, size, precision, form = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    if row.startswith("patch-term"):
        common.serve(lambda: patch_term(size, int(row[-1])))
    elif row.startswith("patches"):
        common.serve(lambda: patches(size, precision, int(row[-1])))
    elif row == "gatys":
        common.serve(lambda: gatys(size, precision, form))
    else:
        work = fast_inference if row == "fast-inference" else fast_training
        common.serve(lambda: work(size, precision))


if __name__ == "__main__":
    main()
