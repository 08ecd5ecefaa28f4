"""What a student of `distill.py` is told to predict, and how wrong it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import Weights

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1")
# What is predicted through a map only guides; what is imitated directly is what recipes look at.
MAPPED_SHARE = 0.2
# Classifier layers and where their cell (0, 0) lies in the student's grid, in cells of that layer.
SEMANTIC = {
    "SqueezeNet": (("relu4_2", "fire5/concat", 0.4375), ("relu5_1", "fire9/concat", 0.46875)),
    "GoogLeNet": (("relu4_2", "inception_3b/output", 0.3125),
                  ("relu5_1", "inception_4e/output", 0.40625)),
}


@dataclass(frozen=True)
class Target:
    """`layer` of teacher number `teacher` is predicted from the student's layer `student`.

    `same`: without a map. `channels`: only these of the teacher's, if any are named. `shift`: see
    SEMANTIC. `early`: trains the layers before it.
    """

    student: str
    teacher: int
    layer: str
    same: bool = False
    channels: tuple[int, ...] = ()
    shift: float = 0.0
    early: bool = False

    @property
    def name(self) -> str:
        return f"{self.student}>{self.teacher}:{self.layer}"


def width(network: VGG, layer: str) -> int:
    """Channels of `relu3_1` or `relu3_1_aux`."""
    if layer.endswith("_aux"):
        return dict(network.aux)[layer.replace("relu", "conv").removesuffix("_aux")]
    block, index = map(int, layer.removeprefix("relu").split("_"))
    return network.blocks[block - 1][index - 1]


def plan(student: VGG, teachers: list[Weights], chosen: dict[str, np.ndarray],
         layers: tuple[str, ...] = LAYERS) -> list[Target]:
    """What each layer learns from: teacher 0 where it goes that deep, others below, classifiers.

    VGGs are imitated channel by channel (those `chosen`, by convolution) where they are wide enough,
    through maps otherwise.
    """
    targets = []
    for layer in (layer for layer in layers if layer in student.layers):
        for index, teacher in enumerate(teachers):
            known = teacher.network.layers
            if not isinstance(teacher.network, VGG):
                targets += [Target(layer, index, name, shift=shift)
                            for at, name, shift in SEMANTIC[type(teacher.network).__name__] if at == layer]
            elif layer in known and not any(t.student == layer for t in targets):
                best = f"{layer}_aux" if f"{layer}_aux" in known else layer
                picked = tuple(map(int, chosen[layer.replace("relu", "conv")]))
                same = width(student, layer) == len(picked)
                targets.append(Target(layer, index, best, same=same, channels=picked if same else (),
                                      early=index == 0))
    return targets


def shifted(x: Array, by: float) -> Array:
    """`[h, w, c]` moved by a fraction of a cell, `[h − 1, w − 1, c]` (as it is where `by` is 0)."""
    if not by:
        return x
    x = (1 - by) * x[:-1] + by * x[1:]
    return (1 - by) * x[:, :-1] + by * x[:, 1:]


def predictions(student: Weights, heads: Any, targets: Sequence[Target], image: Array) -> dict[str, Array]:
    """What the student says each target is, by target name, `[h, w, c]`."""
    layers = tuple(dict.fromkeys(t.student for t in targets))
    features, found = student.features(image, layers), {}
    for target in targets:
        x = shifted(features[target.student], target.shift)
        if not target.same:
            x = x @ heads[target.name]["kernel"] + heads[target.name]["bias"]
        found[target.name] = x
    return found


def truths(teachers: list[Weights], targets: Sequence[Target], image: Array) -> dict[str, Array]:
    """The targets of one image, by name."""
    found = {}
    for index, teacher in enumerate(teachers):
        mine = [target for target in targets if target.teacher == index]
        if mine:
            features = teacher.features(image, tuple(dict.fromkeys(t.layer for t in mine)))
            found |= {t.name: features[t.layer][..., list(t.channels)] if t.channels else features[t.layer]
                      for t in mine}
    return found


def gram(x: Array) -> Array:
    """Gram matrix per position."""
    flat = x.reshape(-1, x.shape[-1])
    return flat.T @ flat / flat.shape[0]


def errors(said: Array, true: Array, scale: Array) -> Array:
    """Errors of features, Gram matrix and response, `[3]`, of a pair of images `[2, h, w, c]`.

    Each is relative: 1 is about what the best constant, no correlation, or no response would give.
    """
    true = true[:, :said.shape[1], :said.shape[2]]
    said = said[:, :true.shape[1], :true.shape[2]]
    mean = true.mean((1, 2), keepdims=True)
    power = jnp.mean(((true - mean) / scale) ** 2, (1, 2, 3)) + 0.5
    feature = jnp.mean(jnp.mean(((said - true) / scale) ** 2, (1, 2, 3)) / power)
    grams = jax.vmap(gram)
    correlation = jnp.mean(jnp.sum((grams(said) - grams(true)) ** 2, (1, 2))
                           / (jnp.sum(grams(true) ** 2, (1, 2)) + 1e-3))
    response, expected = said[1] - said[0], true[1] - true[0]
    change = jnp.sum(((response - expected) / scale) ** 2) / (jnp.sum((expected / scale) ** 2) + 1e-2)
    return jnp.stack([feature, correlation, change])


def loss(
    trained: tuple[Any, Any], student: Weights, teachers: list[Weights], scales: Any, images: Array,
    targets: tuple[Target, ...], mix: tuple[float, float, float],
) -> tuple[Array, dict[str, Array]]:
    """Total over targets and mean over pairs `[n, 2, h, w, 3]`; per target the three errors."""
    params, heads = trained
    early = tuple(target for target in targets if target.early)
    last = max((student.network.layers.index(t.student.replace("relu", "conv")) for t in early), default=-1)
    fixed = {name: jax.lax.stop_gradient(value) if student.network.layers.index(name) <= last else value
             for name, value in params.items()}
    deep = [target for target in targets if not target.early]

    def pair(pair_of_images: Array) -> dict[str, Array]:
        said, true = {}, jax.vmap(lambda x: truths(teachers, targets, x))(pair_of_images)
        for chosen, numbers in ((early, params), (deep, fixed)):
            if chosen:
                model = Weights(params=numbers, matrix=student.matrix, offset=student.offset,
                                network=student.network)
                said |= jax.vmap(lambda x, m=model, c=chosen: predictions(m, heads, c, x))(pair_of_images)
        return {name: errors(said[name], true[name], scales[name]) for name in said}

    parts = jax.tree.map(lambda x: x.mean(0), jax.vmap(pair)(images))
    share = {target.name: 1.0 if target.same else MAPPED_SHARE for target in targets}
    return sum(share[name] * jnp.dot(jnp.array(mix), part) for name, part in parts.items()), parts


def measure_scales(teachers: list[Weights], targets: Sequence[Target], images: np.ndarray) -> Any:
    """Standard deviation of every channel of every target over images and positions, floored."""
    run = jax.jit(lambda teachers, x: truths(teachers, targets, x))
    sums: dict[str, np.ndarray] = {}
    for image in images:
        for name, value in run(teachers, image).items():
            flat = np.asarray(value, np.float64).reshape(-1, value.shape[-1])
            sums[name] = sums.get(name, 0) + np.stack([flat.mean(0), (flat ** 2).mean(0)])
    scales = {}
    for name, total in sums.items():
        mean, square = total / len(images)
        deviation = np.sqrt(np.maximum(square - mean ** 2, 0))
        scales[name] = jnp.asarray(np.maximum(deviation, 0.1 * deviation.mean() + 1e-6), jnp.float32)
    return scales
