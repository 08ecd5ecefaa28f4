"""Measure a slim VGG-19: `python scripts/distill.py evaluate features|styles|speed …`; prints JSON.

`features`: on held-out pictures, how well a linear 1×1 map (fitted on training pictures) of each network's
features predicts the teacher's, and how alike their Gram matrices are. `styles`: pictures stylised with each
network by one recipe, distances in the space of classifiers, a contact sheet. `speed`: seconds per gradient.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from PIL import Image

from distill import data, regress
from distill.targets import LAYERS
from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import Weights, random_weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.images import files as images
from jaxstyle.pytrees import replace
from jaxstyle.references import References
from jaxstyle.transfer.loop import stylize
from jaxstyle.transfer.objective import objective, targets
from jaxstyle.transfer.presets import GRAM
from jaxstyle.transfer.program import network_for
from jaxstyle.transfer.recipe import Recipe, Stage
from jaxstyle.weights.store import load_weights

JUDGES = {
    "GoogLeNet": (("inception_3b/output", "inception_4c/output"),
                  ("conv2/relu_3x3", "inception_3b/output", "inception_4c/output")),
    "SqueezeNet": (("fire5/concat", "fire8/concat"), ("relu1", "fire3/concat", "fire5/concat",
                                                      "fire8/concat")),
}


class Hybrid(nn.Module):
    """A VGG as far as it goes, and for deeper layers the imitations (`_aux`) of another."""

    shallow: VGG
    deep: VGG

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers of both under their plain names."""
        return tuple(name for name in self.deep.layers if not name.endswith("_aux"))

    @nn.compact
    def __call__(self, x: Array, layers: tuple[str, ...]) -> dict[str, Array]:
        """Features `[h, w, c]` of `[H, W, 3]`."""
        early = tuple(name for name in layers if name in self.shallow.layers)
        names = {name: f"{name}_aux" if f"{name}_aux" in self.deep.layers else name
                 for name in layers if name not in early}
        found = self.shallow(x, early) if early else {}
        late = self.deep(x, tuple(names.values())) if names else {}
        return found | {name: late[inner] for name, inner in names.items()}


def hybrid(shallow: Weights, deep: Weights, pooling: str) -> Weights:
    """Weights of a `Hybrid`; both must have the same preprocessing."""
    network = Hybrid(shallow=shallow.network.clone(pooling=pooling), deep=deep.network.clone(pooling=pooling))
    return Weights(params={"shallow": shallow.params, "deep": deep.params}, matrix=shallow.matrix,
                   offset=shallow.offset, network=network, name="hybrid")


def centre(path: Path, size: int) -> np.ndarray:
    """Largest centred square of a picture, scaled to `size`."""
    picture = images.load(path)
    side = min(picture.shape[:2])
    y, x = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    return np.asarray(images.resize_to(jnp.asarray(picture[y:y + side, x:x + side]), size, size))


def gram(x: np.ndarray) -> np.ndarray:
    """Gram matrix per position of features `[n, c]`."""
    return x.T @ x / len(x)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine of the angle between two matrices."""
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


def observer(network: Weights, teachers: list[Weights], pooling: str) -> Any:
    """image -> per layer the pair (features of the network, those to predict), `[n, c]` each."""
    network = network.with_network(pooling=pooling)
    teachers = [teacher.with_network(pooling=pooling) for teacher in teachers]
    goals = goals_of(teachers)

    @jax.jit
    def run(network: Weights, teachers: list[Weights], image: Array) -> dict[str, Any]:
        ours, found = network.features(image, LAYERS), {}
        for index, teacher in enumerate(teachers):
            mine = {layer: goal for layer, (owner, goal) in goals.items() if owner == index}
            theirs = teacher.features(image, tuple(mine.values()))
            found |= {layer: (ours[layer], theirs[goal]) for layer, goal in mine.items()}
        return {layer: tuple(x.reshape(-1, x.shape[-1]) for x in pair) for layer, pair in found.items()}

    return lambda image: jax.tree.map(lambda x: np.asarray(x, np.float64), run(network, teachers, image))


def goals_of(teachers: list[Weights]) -> dict[str, tuple[int, str]]:
    """Layer -> the first teacher that has it, and what it is called there."""
    goals = {}
    for layer in LAYERS:
        index, known = next((i, t.network.layers) for i, t in enumerate(teachers)
                            if layer in t.network.layers)
        goals[layer] = (index, f"{layer}_aux" if f"{layer}_aux" in known else layer)
    return goals


class Tally:
    """Sums over images from which R², correlation and Gram cosine follow."""

    def __init__(self, weights: np.ndarray) -> None:
        self.weights, self.sums, self.count, self.cosines = weights, 0.0, 0, []

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """Predicts `y` `[n, c]` linearly from `x`, rectified as features are."""
        said = np.maximum(x @ self.weights[:-1] + self.weights[-1], 0)
        self.cosines.append(cosine(gram(said), gram(y)))
        self.sums = self.sums + np.stack([v.sum(0) for v in (said, y, said**2, y**2, said * y)])
        self.count += len(x)

    def result(self) -> dict[str, float]:
        """Means over the channels that vary, and over images."""
        p, t, pp, tt, pt = self.sums / self.count
        variance, spread = tt - t**2, pp - p**2
        alive = variance > 1e-3 * variance.mean()
        r2 = 1 - (pp - 2 * pt + tt) / np.maximum(variance, 1e-9)
        correlation = (pt - p * t) / np.sqrt(np.maximum(variance * spread, 1e-12))
        return {"r2": round(float(r2[alive].mean()), 4),
                "correlation": round(float(correlation[alive].mean()), 4),
                "gram": round(float(np.mean(self.cosines)), 5)}


def fit_maps(observe: Any, pictures: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Linear maps from a network's layers to what they should predict."""
    rng, samples = np.random.default_rng(0), {layer: ([], []) for layer in LAYERS}
    for picture in pictures:
        for layer, (x, y) in observe(picture).items():
            places = rng.permutation(len(x))[:400]
            samples[layer][0].append(np.concatenate([x[places], np.ones((len(places), 1))], 1))
            samples[layer][1].append(y[places])
    return {layer: regress.solve(*map(np.concatenate, pair), ridge=1e-6)
            for layer, pair in samples.items()}


def features(args: argparse.Namespace) -> dict[str, Any]:
    """Predictability per network, pooling, layer and kind of picture."""
    train_on, held = data.split(args.photos, args.hold_out_every, tuple(args.exclude))
    rng = np.random.default_rng(1)
    fit = [centre(path, args.size) for path in train_on[::max(1, len(train_on) // 48)]]
    fit += [data.noisy(rng, image).astype(np.float32) for image in fit[::4]]
    kinds = {"clean": [centre(path, args.size) for path in held]}
    kinds["noisy"] = [data.noisy(rng, image).astype(np.float32) for image in kinds["clean"]]
    teachers = [load_weights(name) for name in args.teachers]
    found: dict[str, Any] = {"held out": len(held)}
    for name in args.networks:
        for pooling in args.poolings:
            observe = observer(load_weights(name), teachers, pooling)
            maps = fit_maps(observe, fit)
            for kind, pictures in kinds.items():
                tallies = {layer: Tally(weights) for layer, weights in maps.items()}
                for picture in pictures:
                    for layer, pair in observe(picture).items():
                        tallies[layer].add(*pair)
                for layer, tally in tallies.items():
                    found[f"{Path(name).stem} {pooling} {kind} {layer}"] = tally.result()
                    print(f"{Path(name).stem} {pooling} {kind} {layer}", tally.result(), flush=True)
    return found


def judged(judge: Weights, image: np.ndarray, content: np.ndarray, style: np.ndarray) -> dict[str, float]:
    """Relative squared distances of content features and of Gram matrices, means over layers."""
    places, styles = JUDGES[type(judge.network).__name__]
    names = tuple(dict.fromkeys(places + styles))
    seen = [{k: np.asarray(v) for k, v in judge.features(jnp.asarray(x), names).items()}
            for x in (image, content, style)]
    far = [((seen[0][k] - seen[1][k]) ** 2).sum() / (seen[1][k] ** 2).sum() for k in places]
    grams = [[gram(s[k].reshape(-1, s[k].shape[-1])) for k in styles] for s in (seen[0], seen[2])]
    off = [((a - b) ** 2).sum() / (b ** 2).sum() for a, b in zip(*grams)]
    return {"content": float(np.mean(far)), "style": float(np.mean(off))}


def speckle(image: np.ndarray) -> float:
    """Root mean square of the finest detail of colour (not of brightness): rainbow speckle."""
    colour = image - image.mean(-1, keepdims=True)
    across = colour[1:-1, :-2] + colour[1:-1, 2:] + colour[:-2, 1:-1] + colour[2:, 1:-1]
    fine = 4 * colour[1:-1, 1:-1] - across
    return float(np.sqrt((fine ** 2).mean()))


def recipe_for(args: argparse.Namespace) -> Recipe:
    """The package's default at another size and length."""
    stages = (Stage(size=args.size // 2, steps=args.steps // 2), Stage(size=args.size, steps=args.steps))
    return Recipe(terms=GRAM.terms, solver=GRAM.solver, start=GRAM.start, stages=stages,
                  pooling=GRAM.pooling)


def styles(args: argparse.Namespace) -> dict[str, Any]:
    """Every content with every style, with every network; writes the contact sheet.

    Pictures that are in the folder already are not made again.
    """
    recipe = recipe_for(args)
    networks = {Path(name).stem: load_weights(name) for name in args.networks}
    if args.hybrid:
        networks["hybrid"] = hybrid(*map(load_weights, args.hybrid), pooling=GRAM.pooling or "max")
    judges = [load_weights(name) for name in args.judges]
    run = jax.jit(stylize)
    found, rows = {}, {}
    for name, weights in networks.items():
        mine = replace(recipe, {"pooling": None}) if name == "hybrid" else recipe
        for pair in itertools.product(args.contents, args.styles):
            content, style = (centre(path, args.size) for path in pair)
            path = args.folder / f"{pair[0].stem}-{pair[1].stem}-{name}.png"
            if not path.exists():
                images.save(path, run(weights, References(content=content, styles=(style,)), mine).image)
            made = images.load(path)
            rows.setdefault(pair, [content, style]).append(made)
            key = f"{pair[0].stem} | {pair[1].stem} | {name}"
            found[key] = {"speckle": speckle(made)} | {
                type(judge.network).__name__: judged(judge, made, content, style) for judge in judges}
            print(key, found[key], flush=True)
    sheet(args.sheet, [np.concatenate(row, 1) for row in rows.values()], args.thumbnail / args.size)
    return found


def sheet(path: Path, rows: list[np.ndarray], scale: float) -> None:
    """Rows of pictures as one, scaled."""
    whole = Image.fromarray((np.clip(np.concatenate(rows), 0, 1) * 255 + 0.5).astype(np.uint8))
    whole.resize((round(whole.width * scale), round(whole.height * scale)),
                 Image.Resampling.LANCZOS).save(path, quality=80)


def speed(args: argparse.Namespace) -> dict[str, Any]:
    """Seconds per loss and gradient of the default recipe, networks in turn so that load is shared."""
    image = jnp.asarray(np.random.default_rng(0).random((args.size, args.size, 3), np.float32))
    references = References(content=image[::-1], styles=(image[:, ::-1],))
    runs, times = {}, {}
    full = random_weights(0, VGG(border="reflect"))
    for name, weights in {"full VGG-19": full, **{n: load_weights(n) for n in args.networks}}.items():
        ready = network_for(weights, GRAM)
        wanted = jax.jit(targets)(ready, references, GRAM.terms)
        fun = jax.jit(jax.value_and_grad(objective, argnums=3, has_aux=True)).lower(
            ready, GRAM.terms, wanted, image).compile()
        runs[Path(name).stem if name in args.networks else name] = (fun, ready, wanted)
    for _ in range(args.repeats + 1):
        for name, (fun, ready, wanted) in runs.items():
            started = time.perf_counter()
            jax.block_until_ready(fun(ready, GRAM.terms, wanted, image))
            times.setdefault(name, []).append(time.perf_counter() - started)
    return {name: {"median": float(np.median(t[1:])), "least": min(t[1:])} for name, t in times.items()}


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    p.add_argument("task", choices=("features", "styles", "speed"))
    p.add_argument("--networks", nargs="*", default=["vgg19-slim"], help="weights by name or file")
    p.add_argument("--teachers", nargs="*", default=[], help="the first that has a layer is the truth")
    p.add_argument("--hybrid", nargs=2, default=[], help="early network, network with _aux layers")
    p.add_argument("--judges", nargs="*", default=[], help="classifiers")
    p.add_argument("--photos", type=Path, nargs="*", default=[])
    p.add_argument("--hold-out-every", type=int, default=6)
    p.add_argument("--exclude", nargs="*", default=[])
    p.add_argument("--poolings", nargs="+", default=["max", "average"])
    p.add_argument("--contents", type=Path, nargs="*", default=[])
    p.add_argument("--styles", type=Path, nargs="*", default=[])
    p.add_argument("--size", type=int, default=256)
    p.add_argument("--steps", type=int, default=120)
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--folder", type=Path, default=Path("."), help="for single pictures")
    p.add_argument("--sheet", type=Path, default=Path("sheet.jpg"))
    p.add_argument("--thumbnail", type=int, default=192)
    p.add_argument("--out", type=Path, default=Path("evaluation.json"))
    args = p.parse_args(arguments)
    if args.task == "features" and not (args.teachers and args.photos):
        raise JaxstyleError("features needs --teachers and --photos")
    args.folder.mkdir(parents=True, exist_ok=True)
    found = {"features": features, "styles": styles, "speed": speed}[args.task](args)
    args.out.write_text(json.dumps(found, indent=1))
    print(args.out.read_text())

