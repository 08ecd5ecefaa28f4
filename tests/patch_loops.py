"""Patches by loops: the patch term, its gradient and its matches as the papers write them, in NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from tiny import fast_to_compile

from jaxstyle.losses import Patches
from jaxstyle.references import References


def starts(length: int, size: int, stride: int) -> list[int]:
    found = list(range(0, length - size + 1, stride))
    return found if found[-1] == length - size else [*found, length - size]


def patches_of(x: np.ndarray, size: int, stride: int = 1) -> list[tuple[tuple[int, int], np.ndarray]]:
    return [((i, j), x[i : i + size, j : j + size]) for i in starts(x.shape[0], size, stride)
            for j in starts(x.shape[1], size, stride)]


def cosine(u, v):
    norms = np.linalg.norm(u) * np.linalg.norm(v)
    return np.sum(u * v) / norms if norms else 0.0


def score_by_loops(term: Patches, p, pm, q, qm, scales) -> float:
    """How well two patches match, features and maps `[size, size, C]` each, as the papers write it."""
    if term.matching == "neural-doodle":
        each = [cosine(p[i], q[i]) for i in np.ndindex(p.shape[:2])]
        maps = [0.0 if pm is None else float(term.gamma) * cosine(pm[i], qm[i])
                for i in np.ndindex(p.shape[:2])]
        return float(np.sum(each) + np.sum(maps))
    if pm is None:
        return float(np.sum(p * q) / np.linalg.norm(q)) / scales[0]
    if term.matching == "relative":
        pm, qm = np.concatenate([pm, 1 - pm], -1), np.concatenate([qm, 1 - qm], -1)
    joined = [np.concatenate([a.ravel() / scales[0], term.gamma * b.ravel() / scales[1]])
              for a, b in ((p, pm), (q, qm))]
    return float(np.sum(joined[0] * joined[1]) / np.linalg.norm(joined[1]))


def term_by_loops(term: Patches, features, styles, content_map=None, style_maps=None, penalty=None):
    """The term at one layer, its gradient, the matches and each style patch's best cosine.

    styles: for each style its copies `[h, w, C]`; maps alike.
    """
    size, stride = term.size, term.stride
    guided = content_map is not None
    own = [copies[0] for copies in styles]
    energy = np.sum([np.sum(s**2) for s in own]) / np.sum([s.shape[0] * s.shape[1] for s in own])
    map_energy = 1.0
    if guided:
        both = [np.concatenate([m[0], 1 - m[0]], -1) for m in style_maps]
        map_energy = np.sum([np.sum(m**2) for m in both]) / np.sum([m.shape[0] * m.shape[1] for m in both])
    scales = (np.sqrt(energy), np.sqrt(map_energy)) if term.matching == "relative" else (1.0, 1.0)
    candidates = []
    for k, copies in enumerate(styles):
        for c, style in enumerate(copies):
            for (i, j), q in patches_of(style, size, stride):
                qm = style_maps[k][c][i : i + size, j : j + size] if guided else None
                candidates.append((q, qm))
    total, gradient, squares, chosen = 0.0, np.zeros_like(features), 0.0, []
    peaks = np.full(len(candidates), -np.inf)
    covered = np.zeros(features.shape[:2])
    for (i, j), _ in patches_of(features, size, stride):
        covered[i : i + size, j : j + size] += 1
    count = 0
    for (i, j), p in patches_of(features, size, stride):
        pm = content_map[i : i + size, j : j + size] if guided else None
        scores = np.array([score_by_loops(term, p, pm, q, qm, scales) for q, qm in candidates])
        peaks = np.maximum(peaks, scores)
        best = int(np.argmax(scores if penalty is None else scores - penalty))
        chosen.append(best)
        difference = p - candidates[best][0]
        share = 1 / (2 * covered[i : i + size, j : j + size])[...,
            None] if term.normalization == "cnnmrf" else 1.0
        total += np.sum(share * difference**2)
        squares += np.sum(difference**2)
        gradient[i : i + size, j : j + size] += 2 * share * difference
        count += 1
    divisor = 1.0
    if term.normalization == "mean":
        divisor = count * size**2 * features.shape[2]
    elif term.normalization == "relative":
        own_patches = [q for style in own for _, q in patches_of(style, size, stride)]
        divisor = count * np.mean([np.sum(q**2) for q in own_patches])
    return total / divisor, gradient / divisor, chosen, peaks


def given(shape=(8, 9, 3), style_shapes=((7, 6), (6, 8)), channels=2, seed=0):
    """Positive features as after a rectifier, in a content and several styles, with maps of flat labels."""
    rng = np.random.default_rng(seed)
    def labels(h, w):
        return np.eye(channels)[rng.integers(0, channels, (-(-h // 3), -(-w // 3)))].repeat(3, 0).repeat(3,
            1)[:h, :w]

    features = np.maximum(rng.normal(size=shape), 0) + 0.01
    styles = [np.maximum(rng.normal(size=(*s, shape[2])), 0) + 0.01 for s in style_shapes]
    return features, styles, labels(*shape[:2]), [labels(*s) for s in style_shapes]


def evaluated(term: Patches, features, styles, content_map=None, style_maps=(), memory=None, content=None):
    """Value, gradient and new memory; features of an "image" are the image itself."""
    references = References(content=None if content is None else jnp.asarray(content),
                            styles=tuple(map(jnp.asarray, styles)),
                            content_map=None if content_map is None else jnp.asarray(content_map),
                            style_maps=tuple(map(jnp.asarray, style_maps)))

    @jax.jit
    def evaluate(term, references, memory, x):
        target = term.target(references, lambda image, layers: {layer: image for layer in layers})
        memory = term.memory(target) if memory is None else memory
        return jax.value_and_grad(lambda x: term.loss(x, {"a": x}, target, memory), has_aux=True)(x)

    with fast_to_compile():
        (value, after), gradient = evaluate(term, references, memory, jnp.asarray(features))
    return value, gradient, after


def one_layer(**fields) -> Patches:
    return Patches(**{"layers": ("a",), "layer_weights": (1.0,), **fields})
