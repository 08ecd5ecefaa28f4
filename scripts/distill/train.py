"""Distil a slim VGG-19 from teachers: `python scripts/distill.py --teacher FILE --photos DIR … --out FILE`.

Every named layer of the student either equals the teacher's layer (where both have the same width) or
predicts it through a linear 1×1 map that exists only during training. Three errors are minimised per
layer, each relative to the size of what is predicted: of the features, of their Gram matrices, and of
the *response* to noise (the change of the features when noise is added to the image), so that the
student sees noise as much as the teacher does. A quarter of the images are taken from unfinished style
optimisations made with the student itself as it is at that time: they show what it overlooks. Every
second step all VGGs pool by average instead of maximum, because style recipes ask for either.

Layers after the last one taken from `--teacher` send no gradient into those before: the early layers
serve one master. `--deep` names a VGG that has the layers which the teacher lacks (or imitations of
them, called `reluN_M_aux`); `--semantic` names classifiers whose late features the deep layers predict.

The run is a function of its arguments: killed at any moment and started again with the same ones, it
goes on from its last checkpoint and ends with the same numbers.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from distill import data, regress
from distill.state import State, fit_maps, new_state, refill, remeasure, revive, state_shapes, update
from distill.targets import LAYERS, Target, measure_scales, plan
from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import Weights, random_weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.runs.checkpoints import restore_checkpoint, save_checkpoint
from jaxstyle.weights.store import load_weights, write_weights
from jaxstyle.weights.verify import notes_of

SLIM = ((32, 32), (128, 96), (256, 64, 64, 64), (256, 128, 128, 128), (256,))
# For --quick: a teacher with random numbers, and a student of it.
QUICK = (((8, 8), (8, 8), (8,)), ((4, 4), (8, 4), (6,)))
POOL = 384


def schedule(step: int, args: argparse.Namespace) -> float:
    """Warm-up over 50 steps, constant, then linear to zero over the last `--decay` of all steps."""
    left = (args.steps - step) / max(1.0, args.decay * args.steps)
    return args.rate * min(1.0, (step + 1) / 50, left)


def pruned(weights: Weights, peaks: dict[str, np.ndarray], kept: set[str]) -> Weights:
    """Without the channels whose largest value is 0, except in layers that are `kept`."""
    network = weights.network
    convs = [name for name in network.layers if name.startswith("conv")]
    params, before = {}, np.arange(3)
    blocks = [list(block) for block in network.blocks]
    for conv in convs:
        relu = conv.replace("conv", "relu")
        alive = np.flatnonzero((peaks[relu] > 1e-3) | (relu in kept))
        kernel, bias = np.asarray(weights.params[conv]["kernel"]), np.asarray(weights.params[conv]["bias"])
        params[conv] = {"kernel": kernel[:, :, before][..., alive], "bias": bias[alive]}
        block, index = map(int, conv.removeprefix("conv").split("_"))
        blocks[block - 1][index - 1] = len(alive)
        before = alive
    return Weights(params=params, matrix=weights.matrix, offset=weights.offset,
                   network=network.clone(blocks=tuple(map(tuple, blocks))))


def finished(student: Weights, params: Any, targets: Sequence[Target], images: np.ndarray) -> Weights:
    """The trained network without dead channels, and with mean activation 1 in every channel that does
    not imitate one of a known scale (of the first teacher, or a wide layer's imitation).

    ReLU commutes with positive factors, so what is divided out of one layer is multiplied into the next
    and the function stays (Gatys' normalisation).
    """
    model = Weights(params=params, matrix=student.matrix, offset=student.offset, network=student.network)
    names = tuple(name for name in student.network.layers if name.startswith("relu"))
    kept = {t.student for t in targets if t.same and (t.early or t.layer.endswith("_aux"))}
    measure = jax.jit(lambda m, x: {k: (v.mean((0, 1)), v.max((0, 1)))
                                    for k, v in m.features(x, names).items()})
    found = [measure(model, image) for image in images]
    peaks = {name: np.max([f[name][1] for f in found], 0) for name in names}
    means = {name: np.mean([f[name][0] for f in found], 0) for name in names}
    model = pruned(model, peaks, kept)
    made, before = {}, np.ones(3, np.float32)
    for name in names:
        conv = name.replace("relu", "conv")
        factor = means[name][peaks[name] > 1e-3]
        factor = np.ones(model.params[conv]["bias"].shape) if name in kept else np.maximum(factor, 1e-3)
        made[conv] = {"kernel": model.params[conv]["kernel"] * before[:, None] / factor,
                      "bias": model.params[conv]["bias"] / factor}
        before = factor
    return Weights(params=jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), made),
                   matrix=model.matrix, offset=model.offset, network=model.network)


def write(path: Path, weights: Weights, **metadata: str) -> None:
    """Filters in float16, the preprocessing in float32."""
    half = jax.tree.map(lambda x: np.asarray(x, np.float16), weights.params)
    write_weights(path, Weights(params=half, matrix=weights.matrix, offset=weights.offset,
                                network=weights.network),
                  "vgg19-slim", convention="torchvision", **notes_of(weights), **metadata)


def averaged(weights: Weights) -> Weights:
    """A VGG with average pooling; another network as it is."""
    return weights.with_network(pooling="average") if isinstance(weights.network, VGG) else weights


def first_stage(args: argparse.Namespace, student: Weights, teachers: list[Weights],
                calm: np.ndarray, notes: Path) -> State:
    """Layers and maps by least squares; notes imitated channels and scales in a file."""
    rng = np.random.default_rng((args.seed, 2))
    noisy = [data.noisy(rng, image) for image in calm[1::2]]
    mixed = np.concatenate([calm[::2], noisy]).astype(np.float32)
    params, chosen, features = regress.regress(student, teachers, mixed, LAYERS, args.seed)
    targets = plan(student.network, teachers, chosen)
    heads = fit_maps(features, teachers, targets, mixed)
    scales = measure_scales(teachers, targets, calm)
    np.savez(notes, **{f"channels {k}": v for k, v in chosen.items()},
             **{f"scale {k}": v for k, v in scales.items()})
    params, heads = revive(student, params, heads, targets, mixed[:16], rng)
    return new_state(student, params, heads, targets, mixed[:16], args.pool)


def noted(notes: Path, student: Weights, teachers: list[Weights]
          ) -> tuple[dict[str, Any], tuple[Target, ...]]:
    """Scales and targets, from what the first stage wrote into a file."""
    with np.load(notes) as found:
        chosen = {k.removeprefix("channels "): found[k] for k in found if k.startswith("channels ")}
        scales = {k.removeprefix("scale "): jnp.asarray(found[k]) for k in found if k.startswith("scale ")}
    return scales, tuple(plan(student.network, teachers, chosen))


def train(args: argparse.Namespace, student: Weights, teachers: list[Weights],
          pictures: list[np.ndarray]) -> Weights:
    """The loop: images, step, log, checkpoint. Writes and returns the finished network."""
    calm = data.clean_images(np.random.default_rng(args.seed), pictures, args.calibration, args.size)
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    log, notes = out.with_suffix(".log.jsonl"), out.with_suffix(".fit.npz")
    kinds = ((student, teachers), (averaged(student), [averaged(teacher) for teacher in teachers]))
    states = out.with_suffix(".checkpoints")
    saved = restore_checkpoint(states, lambda about: state_shapes(
        student, teachers, noted(notes, student, teachers)[1], calm[:1], args.pool))
    if saved is None:
        state, first = first_stage(args, student, teachers, calm, notes), 0
        save_checkpoint(states, 0, state, {})
    else:
        state, first = jax.tree.map(jnp.array, saved.state), saved.step
    print(f"starting at step {first}", flush=True)
    scales, targets = noted(notes, student, teachers)
    for step in range(first, args.steps):
        rng = np.random.default_rng((args.seed, 1, step))
        if args.pool and step >= args.dream_from and step % args.dream_every == 0:
            state = refill(state, averaged(student), pictures, rng)
        filled = min(int(state.filled), args.pool)
        images = data.pairs(rng, pictures, np.asarray(state.pool), filled, args.pairs, args.size)
        if step % args.whiten_every == 0 and step:
            state = remeasure(state, student, targets, images[:4].reshape(-1, *images.shape[2:]))
        state, value, parts = update(state, *kinds[step % 2], scales, images,
                                     schedule(step, args), targets, tuple(args.mix))
        if step % args.log_every < 2 or step == args.steps - 1:
            note(log, step, value, parts)
        if (step + 1) % args.save_every == 0 or step == args.steps - 1:
            save_checkpoint(states, step + 1, state, {})
    made = finished(student, state.params, targets, calm)
    write(out, made, origin="trained by jaxstyle, scripts/distill.py", licence=args.licence,
          steps=str(args.steps))
    return made


def note(log: Path, step: int, value: Any, parts: dict[str, Any]) -> None:
    """One line of JSON at the end of the log, and on the screen."""
    entry = {"step": step, "loss": float(value), "cpu_seconds": round(time.process_time()),
             **{name: [round(float(x), 5) for x in part] for name, part in parts.items()}}
    with log.open("a") as file:
        file.write(json.dumps(entry) + "\n")
    print(entry, flush=True)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0],
                                formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--teacher", help="VGG-19 weights file or name; all layers that it has come from it")
    p.add_argument("--deep", nargs="*", default=[], help="VGG files with layers that the teacher lacks")
    p.add_argument("--semantic", nargs="*", default=[], help="classifier files")
    p.add_argument("--photos", type=Path, nargs="*", default=[], help="folders of pictures")
    p.add_argument("--hold-out-every", type=int, default=6, help="of folders with over 100 pictures")
    p.add_argument("--exclude", nargs="*", default=[], help="hold out pictures with this in their name")
    p.add_argument("--out", default="vgg19-slim.safetensors", help="its log and checkpoints lie beside it")
    p.add_argument("--widths", type=json.loads, default=SLIM, help="JSON list of blocks")
    p.add_argument("--steps", type=int, default=20000)
    p.add_argument("--rate", type=float, default=5e-3, help="learning rate")
    p.add_argument("--decay", type=float, default=0.4, help="last part of the steps, rate falls to zero")
    p.add_argument("--pairs", type=int, default=4, help="images per step, each beside a noisy version")
    p.add_argument("--size", type=int, default=96, help="pixels of a side")
    p.add_argument("--mix", type=float, nargs=3, default=(1.0, 0.3, 0.2), help="feature, Gram, response")
    p.add_argument("--pool", type=int, default=POOL, help="images of unfinished optimisations; 0: none")
    p.add_argument("--dream-from", type=int, default=300)
    p.add_argument("--dream-every", type=int, default=60)
    p.add_argument("--whiten-every", type=int, default=25, help="steps between measurements of inputs")
    p.add_argument("--calibration", type=int, default=96, help="images that scales are measured on")
    p.add_argument("--save-every", type=int, default=100)
    p.add_argument("--log-every", type=int, default=10)
    p.add_argument("--licence", default="CC BY 4.0; teacher: VGG-19 by the Visual Geometry Group, Oxford")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--quick", action="store_true", help="two small steps; teacher of random numbers")
    return p


def main(arguments: list[str] | None = None) -> None:
    """Parse, load, train."""
    args = parser().parse_args(arguments)
    if args.quick:
        args.steps, args.pairs, args.size, args.pool = min(args.steps, 2), 1, 32, 3
        args.calibration, args.log_every, args.dream_from, args.dream_every = 4, 1, 1, 1
        args.save_every = args.whiten_every = 1
    if args.teacher:
        first = load_weights(args.teacher)
    elif args.quick:
        first = random_weights(args.seed, VGG(blocks=QUICK[0], border="reflect"))
        args.widths = QUICK[1]
    else:
        raise JaxstyleError("no --teacher was given; name a VGG-19 weights file (or try --quick)")
    teachers = [first, *map(load_weights, [*args.deep, *args.semantic])]
    blocks = tuple(map(tuple, args.widths))
    student = random_weights(args.seed + 1, VGG(blocks=blocks, border="reflect"))
    if not args.photos and not args.quick:
        raise JaxstyleError("no --photos were given; name folders of pictures to train on")
    train_on, held = data.split(args.photos, args.hold_out_every, tuple(args.exclude))
    print(f"{len(train_on)} pictures to train on, {len(held)} held out", flush=True)
    train(args, student, teachers, [data.read(path) for path in train_on])

