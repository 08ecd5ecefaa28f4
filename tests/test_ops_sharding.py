"""One image over eight devices gives what one device gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from jaxstyle.errors import JaxstyleError
from jaxstyle.ops.sharding import shard_rows

PROGRAM = """
import json
import jax
import jax.numpy as jnp
import numpy as np
from jaxstyle import ops
from jaxstyle.backbones import VGG
from jaxstyle.ops.sharding import replicate, shard_rows

jax.config.update("jax_enable_x64", True)
devices = jax.devices()
network, layers = VGG(blocks=((64,), (96,)), border="reflect"), ("relu1_1", "relu2_1")
image = jnp.asarray(np.random.default_rng(0).standard_normal((64, 12, 3)))
params = jax.jit(network.init, static_argnums=2)(jax.random.key(0), image, layers)["params"]
params = ops.prepare(jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params))


def loss(image, params):
    features = network.apply({"params": params}, image, layers)
    return sum(ops.squared_gram_distance(f, jnp.eye(f.shape[-1]), 1 / f.size)
               for f in features.values())


gradient = jax.jit(jax.value_and_grad(loss))
desired = gradient(image, params)
program = gradient.lower(shard_rows(image, devices), replicate(params, devices)).compile()
actual = program(shard_rows(image, devices), replicate(params, devices))
text = program.as_text()
print(json.dumps({
    "devices": len(devices), "loss": float(desired[0]), "norm": float(jnp.linalg.norm(desired[1])),
    "loss error": float(abs(actual[0] - desired[0])),
    "gradient error": float(jnp.max(jnp.abs(np.asarray(actual[1]) - np.asarray(desired[1])))),
    "rows": sorted(shard.data.shape[0] for shard in actual[1].addressable_shards),
    "halos": text.count(" collective-permute("), "sums": text.count(" all-reduce("),
}))
"""


def test_eight_devices_equal_one_in_float64():
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAXSTYLE_OPS": "fast",
                   "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8"}
    run = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True,
                         text=True, timeout=600, check=False)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["devices"] == 8
    assert found["rows"] == [8] * 8
    assert found["halos"] > 0
    assert found["sums"] > 0
    assert found["loss"] > 1e-6
    assert found["loss error"] <= 1e-10 * found["loss"]
    assert found["gradient error"] <= 1e-10 * found["norm"]


def test_rows_that_do_not_divide_are_an_error():
    devices = jax.devices() * 3
    with pytest.raises(JaxstyleError, match="64 rows cannot be split over 3 devices"):
        shard_rows(jnp.zeros((64, 8, 3)), devices[:3])
