"""First stage of `distill.py`: fit the student layer by layer, by linear least squares.

Every convolution of the student, from the first to the last, is regressed from the patches that the
student itself sees there onto what the teacher computes before its rectifier. Where the student is
narrower than the teacher it imitates the channels that together predict the most of what the teacher
does next; where it is wider the rest stays random. This starts the training that follows near the goal.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from distill import optim
from jaxstyle import ops
from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import Weights

RIDGE = 1e-4
POSITIONS = 200


def solve(x: np.ndarray, y: np.ndarray, ridge: float = RIDGE) -> np.ndarray:
    """Ridge regression `[d, out]` of `y` `[n, out]` on `x` `[n, d]`, whose last column is one."""
    moment = x.T @ x / len(x)
    damping = ridge * np.trace(moment) / len(moment) * np.eye(len(moment))
    return np.linalg.solve(moment + damping, x.T @ y / len(x))


def select(covariance: np.ndarray, metric: np.ndarray, count: int) -> np.ndarray:
    """Channels that, one after the other, lower the unexplained tr(metric · covariance) the most."""
    chosen: list[int] = []
    rest = covariance.copy()
    for _ in range(count):
        variance = np.maximum(np.diag(rest), 1e-9)
        gain = ((rest @ metric) * rest).sum(1) / variance
        gain[chosen] = -1
        best = int(gain.argmax())
        chosen.append(best)
        rest = rest - np.outer(rest[:, best], rest[best]) / variance[best]
    return np.sort(np.array(chosen))


def sample(x: Array, y: Array, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Patches of `x` `[n, h, w, c]` and the values of `y` in random places of every image."""
    xs, ys = [], []
    cut = jax.jit(optim.patches, static_argnums=1)
    for image, values in zip(x, y):
        flat = np.asarray(values).reshape(-1, values.shape[-1])
        places = rng.permutation(len(flat))[:POSITIONS]
        xs.append(np.asarray(cut(image, size))[places])
        ys.append(flat[places])
    return np.concatenate(xs), np.concatenate(ys)


def importance(x: np.ndarray, y: np.ndarray, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Covariance of the channels in patches `x`, and the metric in which they matter for `y`."""
    per_tap = x[:, :-1].reshape(-1, channels)
    weights = solve(x, y)[:-1].reshape(-1, channels, y.shape[1]) / (y.std(0) + 1e-6)
    return np.cov(per_tap.T), np.einsum("kco,kdo->cd", weights, weights)


def choose(
    teacher: dict[str, Array], conv: str, width: int, following: str | None, named: bool,
    pooled: bool, rng: np.random.Generator,
) -> np.ndarray:
    """Which `width` channels of the teacher's `conv` the student imitates."""
    relu = jax.nn.relu(teacher[conv])
    if named or following is None:
        flat = np.asarray(relu).reshape(-1, relu.shape[-1])
        return select(np.cov((flat / (flat.std(0) + 1e-6)).T), np.eye(relu.shape[-1]), width)
    after = jax.vmap(ops.max_pool)(relu) if pooled else relu
    x, y = sample(after, teacher[following], 3, rng)
    return select(*importance(x, y, relu.shape[-1]), width)


def regress(
    student: Weights, teachers: list[Weights], images: np.ndarray, named: tuple[str, ...], seed: int
) -> tuple[Any, dict[str, np.ndarray], dict[str, Array]]:
    """Fitted parameters, the imitated channels of every convolution, and the features that result.

    Args:
      images: `[n, h, w, 3]` to fit on; named: layers that are wanted for themselves, so their channels
        are chosen to predict the whole layer, not the next one.
    """
    rng = np.random.default_rng(seed)
    network: VGG = student.network  # type: ignore[assignment]
    convs = [name for name in network.layers if name.startswith("conv")]
    owner = {c: next((i for i, t in enumerate(teachers) if isinstance(t.network, VGG)
                      and c in t.network.layers), None) for c in convs}
    true: dict[str, Array] = {}
    for index, teacher in enumerate(teachers):
        wanted = tuple(c for c in convs if owner[c] == index)
        if wanted:
            # Where a teacher has an imitation of a wide layer, that is the layer to learn from.
            names = {c: f"{c}_aux" if f"{c}_aux" in teacher.network.layers and
                     c.replace("conv", "relu") in named else c for c in wanted}
            goals = tuple(names.values())
            run = jax.jit(lambda t, x, goals=goals: t.features(x, goals))
            found = [run(teacher, image) for image in images]
            true |= {c: jnp.stack([f[name] for f in found]) for c, name in names.items()}
    params, channels, features = dict(student.params), {}, {}
    x = jnp.asarray(images) @ student.matrix + student.offset[None, None, None]
    for conv, following in zip(convs, [*convs[1:], None]):
        pooled = following is not None and following[4] != conv[4]
        width = params[conv]["bias"].shape[0]
        if conv in true:
            known = true[conv].shape[-1]
            same = following in true and owner[following] == owner[conv]
            picked = np.arange(known) if known <= width else choose(
                true, conv, width, following if same else None, conv.replace("conv", "relu") in named,
                pooled, rng)
            channels[conv] = picked
            fitted = solve(*sample(x, true[conv][..., picked], 3, rng))
            layer = optim.matrix(params[conv]).at[:, :len(picked)].set(fitted)
            params[conv] = optim.layer_like(layer, params[conv])
        x = jax.jit(jax.vmap(lambda a, p: ops.conv(a, p, border=network.border, relu=True),
                             in_axes=(0, None)))(x, params[conv])
        features[conv.replace("conv", "relu")] = x
        x = jax.vmap(ops.max_pool)(x) if pooled else x
    return params, channels, features
