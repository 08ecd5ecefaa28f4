"""Is a weights file what it says? Hash, shapes, and what its filters see in a colour card.

The commonest silent mistake is an input convention that is not the network's own: blue for red, or 0..1
for 0..255. Two measurements find it. Each filter of the first layer answers on a certain fraction of the
colour card's pixels; of networks known to us these fractions are recorded (`fingerprints.toml`), and they
do not change when filters are rescaled. And statistics of the first layers are noted in each file when
it is made.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from functools import partial
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from msgspec import Meta

from jaxstyle.backbones import parameter_shapes
from jaxstyle.backbones.perceptual import CONVENTIONS, Weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.reading import parsed
from jaxstyle.weights.registry import registry
from jaxstyle.weights.store import bundled_dir, load_weights, read_notes, weights_path

SAME = 0.012  # largest mean difference of fractions that is the same network seeing the same input
Statistics = Annotated[list[float], Meta(min_length=2, max_length=2)]
EDGE = 4  # features at the border depend on how the image goes on outside


class Finding(NamedTuple):
    """One check: its name, whether it passed, and what was found."""

    check: str
    passed: bool
    text: str


def colour_card(size: int = 96) -> np.ndarray:
    """A colourful picture `[size, size, 3]` in [0, 1], the same on every machine: waves, rings, dots."""
    y, x = np.mgrid[:size, :size] / size
    rings = np.hypot(x - 0.3, y - 0.6)
    red = 0.55 + 0.35 * np.sin(9 * x + 23 * y**2) + 0.1 * np.sign(np.sin(60 * x))
    green = 0.35 + 0.25 * np.cos(40 * rings) * (1 - x) + 0.2 * y
    blue = 0.15 + 0.5 * x * y + 0.15 * np.sin(31 * x + 17 * y) + 0.2 * (np.sin(70 * rings) > 0.6)
    card: np.ndarray = np.clip(np.stack([red, green, blue], -1), 0, 1).astype(np.float32)
    return card


@partial(jax.jit, static_argnames="layers")
def _compiled(weights: Weights, image: Array, layers: tuple[str, ...]) -> dict[str, Array]:
    return weights.features(image, layers)


def _features(weights: Weights, layers: tuple[str, ...]) -> dict[str, Array]:
    """Features of the colour card; what a file is called does not make another program."""
    shallow = {name: value for name, value in weights.params.items()
               if weights.network.layers.index(name) <= weights.network.layers.index(layers[-1])}
    anonymous = replace(weights, params=shallow, name="", sha256="")
    seen: dict[str, Array] = _compiled(anonymous, jnp.asarray(colour_card()), layers)
    return seen


def fingerprint(weights: Weights) -> np.ndarray:
    """Fraction of the colour card on which each filter of the first layer answers above zero, `[C]`."""
    layer = weights.network.layers[0]
    feature = np.asarray(_features(weights, (layer,))[layer])
    inner = feature[EDGE:-EDGE, EDGE:-EDGE]
    alive: np.ndarray = (inner > 0).mean((0, 1))
    return alive


def statistics(weights: Weights) -> dict[str, list[float]]:
    """Mean and fraction above zero of the first six layers on the colour card, by layer."""
    layers = weights.network.layers[:6]
    found = _features(weights, layers)
    return {name: [float(found[name].mean()), float((found[name] > 0).mean())] for name in layers}


def notes_of(weights: Weights) -> dict[str, str]:
    """What a file should say about its numbers, as metadata for `write_weights`."""
    return {"statistics": json.dumps(statistics(weights))}


def other_inputs(weights: Weights) -> dict[str, Weights]:
    """The same filters with every input convention they could have been meant for, by name."""
    matrix, offset = np.asarray(weights.matrix), np.asarray(weights.offset)
    inputs = {
        "its own with red and blue exchanged": (matrix[::-1], offset),
        "its own on 0..255 instead of 0..1": (matrix / 255, offset),
        "its own on 0..1 instead of 0..255": (matrix * 255, offset),
    }
    for name, (known, shift) in CONVENTIONS.items():
        inputs[name] = (known, shift)
        inputs[f"{name} with red and blue exchanged"] = (known[::-1], shift)
    return {name: replace(weights, matrix=jnp.asarray(m, jnp.float32), offset=jnp.asarray(o))
            for name, (m, o) in inputs.items()}


def verify(name: str) -> list[Finding]:
    """Check weights by name or path: hash, shapes, recorded statistics, input convention.

    Raises:
      JaxstyleError: not there, damaged, or not a weights file.
    """
    weights = load_weights(name)
    path = weights_path(name)
    if path is None:
        return [Finding("random", True, "made in place: nothing to check")]
    notes = read_notes(path)
    count = len(parameter_shapes(weights.network))
    return [
        _hash(weights, notes),
        Finding("shapes", True, f"{count} layers as the architecture wants them"),  # else it is not read
        _recorded(weights, notes), _contrast(weights), *_known_file(notes), *_known_network(weights, notes),
    ]


def _hash(weights: Weights, notes: dict[str, str]) -> Finding:
    """Reading has compared the hash already; a file without one is taken as it is."""
    if content := notes.get("content_sha256"):
        return Finding("hash", True, f"the numbers have the recorded hash {content[:16]}…")
    return Finding("hash", True, f"none recorded; it is {weights.sha256[:16]}…")


def _recorded(weights: Weights, notes: dict[str, str]) -> Finding:
    """The statistics noted when the file was made, against those of today."""
    if "statistics" not in notes:
        return Finding("statistics", True, "none recorded in this file")
    noted = parsed(notes["statistics"], dict[str, Statistics], "the recorded statistics")
    if _alike(statistics(weights), noted):
        return Finding("statistics", True, f"of {', '.join(noted)} on the colour card as recorded")
    for name, other in other_inputs(weights).items():
        if _alike(statistics(other), noted):
            return Finding("statistics", False, f"were recorded with another input: {name}")
    return Finding("statistics", False, "on the colour card are not the recorded ones")


def _alike(found: dict[str, list[float]], noted: dict[str, list[float]]) -> bool:
    return found.keys() == noted.keys() and all(
        np.allclose(found[name], noted[name], rtol=0.01, atol=1e-3) for name in noted)


def _contrast(weights: Weights) -> Finding:
    """A network that gets 0..1 where it wants 0..255 sees an almost uniform picture."""
    layer = weights.network.layers[0]
    feature = np.asarray(_features(weights, (layer,))[layer])
    inner = feature[EDGE:-EDGE, EDGE:-EDGE]
    contrast = float(np.median(inner.std((0, 1)) / (np.abs(inner).mean((0, 1)) + 1e-12)))
    if contrast < 0.03:
        return Finding("contrast", False, f"{contrast:.1%} at {layer}: the input looks uniform, as "
                       "when a network for 0..255 is given 0..1")
    return Finding("contrast", True, f"{contrast:.0%} at {layer}")


def _known_file(notes: dict[str, str]) -> list[Finding]:
    """Whether the file was made from one of the registry, with the input that belongs to it."""
    hashes = {f"{kind}:{notes.get(f'source_{kind}')}" for kind in ("sha256", "md5")}
    for name, entry in registry().items():
        for file in entry.files:
            if file.hash in hashes:
                says = notes.get("convention", "its own")
                text = f"made from the published file of {name}, whose input is '{file.convention}'"
                if says != file.convention:
                    text += f", but the file says '{says}'; port it again"
                return [Finding("source", says == file.convention, text)]
    return []


def known_fingerprints(architecture: str) -> dict[str, np.ndarray]:
    """Recorded fingerprints of published networks of an architecture, by whose they are."""
    content = tomllib.loads((bundled_dir() / "fingerprints.toml").read_text(encoding="utf-8"))
    return {entry["network"]: np.array(entry["per_mille"]) / 1000
            for entry in content["fingerprint"] if entry["architecture"] == architecture}


def _known_network(weights: Weights, notes: dict[str, str]) -> list[Finding]:
    """Whether the filters of a network that we know see the input that it was trained on."""
    known = known_fingerprints(notes.get("architecture", ""))
    if not known:
        return []
    if match := _match(weights, known):
        return [Finding("input", True, f"its filters are those of {match}, with their input")]
    for name, other in other_inputs(weights).items():
        if match := _match(other, known):
            says = notes.get("convention", "its own")
            return [Finding("input", False, f"its filters are those of {match}, made for the input "
                            f"'{name}', but the file says '{says}'; port it again with that convention")]
    return [Finding("input", True, f"its filters are not those of {', '.join(known)}: no reference")]


def _match(weights: Weights, known: dict[str, np.ndarray]) -> str | None:
    found = fingerprint(weights)
    for network, expected in known.items():
        if found.shape == expected.shape and np.abs(found - expected).mean() < SAME:
            return network
    return None


def must_pass(findings: list[Finding], name: str) -> None:
    """Raises:
      JaxstyleError: a check has failed.
    """
    if failed := [finding for finding in findings if not finding.passed]:
        raise JaxstyleError(f"{name}: {failed[0].check}: {failed[0].text}")
