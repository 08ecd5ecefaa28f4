#!/usr/bin/env python3
"""Attacks every command and every file that is read back: damaged bytes, edited JSON, nonsense, odd names.

    python scripts/fuzz.py --cases 1000 --seconds 600 --seed 0

A case passes if the command ends with 0 or with 2 and one clear line, in time, leaves no half-written file,
and leaves the files that it was given as they were. What comes after the checks, the run itself, is left out.
Prints what each failing case was (it can be repeated with --seed and --only) and the numbers.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import hashlib
import io
import json
import os
import random
import re
import signal
import socket
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import jax
import numpy as np

from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import random_weights
from jaxstyle.cli.main import answered
from jaxstyle.images.files import save
from jaxstyle.losses import Content, Gram
from jaxstyle.runs.manifest import Files, manifest
from jaxstyle.sweeps.folder import FINISHED, History, fingerprint, lane_folder, write_plan, write_result
from jaxstyle.sweeps.plan import Lane
from jaxstyle.transfer.recipe import Recipe, Stage
from jaxstyle.weights.store import read_weights, write_weights

SLOW_SECONDS = 15
CASE_SECONDS, CPU_SECONDS = 300, 60  # a machine may have much else to do
HOSTILE = [
    None,
    True,
    -1,
    0,
    0.5,
    1e308,
    float("nan"),
    10**30,
    2**31,
    "",
    "x",
    "[/red]",
    "[bold]",
    "\x1b[31m",
    "a\nb\rc",
    "\u202e",
    "\x00",
    "\ud800",
    "x" * 5000,
    "../../../etc/passwd",
    "/dev/zero",
    [],
    [[]],
    {},
    {"type": "Gram"},
    [None],
    {"type": []},
]
NUMBERS = [
    "99999999999999999999",
    "-1",
    "0",
    "1e400",
    "nan",
    "inf",
    "x",
    "",
    "1,2",
    "none",
    "true",
    "0.5",
    "[/]",
]
NAMES = [
    "a [/2024] b.png",
    "new\nline.png",
    "esc\x1b[31m.png",
    "<!--<script>.png",
    "  .png",
    "-dash.png",
    "ü\u202e.png",
    "%s{0}.png",
    "'\"`$(x).png",
]
SETTINGS = [
    "size",
    "steps",
    "seed",
    "every",
    "strength",
    "max-memory",
    "devices",
    "terms.style.weight",
    "solver",
    "solver.history",
    "stages.0.size",
    "rows",
    "precision",
    "terms.style.layers",
    "start.noise",
    "style_scale",
    "pooling",
    "weights",
    "style-weight",
    "nonsense",
    "save-every",
]


class Place:
    """A folder with a little of everything that is read back."""

    def __init__(self, folder: Path) -> None:
        self.folder, rng = folder, np.random.default_rng(0)
        network = random_weights(network=VGG(blocks=((4,), (8,)), border="reflect"))
        write_weights(folder / "tiny.safetensors", network, "vgg19")
        self.weights = read_weights(folder / "tiny.safetensors", str(folder / "tiny.safetensors"))
        for name in ("photo.png", "painting.png"):
            save(folder / name, rng.random((12, 16, 3), np.float32))
        self.recipe = Recipe(
            terms={
                "content": Content(layers=("relu2_1",)),
                "style": Gram(layers=("relu1_1", "relu2_1"), layer_weights=(0.5, 0.5)),
            },
            stages=(Stage(size=16, steps=2),),
        )
        self.files = Files(content=str(folder / "photo.png"), styles=(str(folder / "painting.png"),))
        self.record = manifest(self.recipe, self.files, self.weights, beside=folder, keep_alpha=False)
        self.make_sweep()
        np.savez(
            folder / "net.npz", **{"conv1_1/weight": rng.random((3, 3, 3, 4)), "conv1_1/bias": rng.random(4)}
        )
        with h5py.File(folder / "net.h5", "w") as file:
            file["block1_conv1/kernel:0"] = rng.random((3, 3, 3, 4))
            file["block1_conv1/bias:0"] = rng.random(4)
        os.mkfifo(folder / "fifo.png")
        listener = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError):
            listener.bind(str(folder / "socket.png"))

    def make_sweep(self) -> None:
        """A finished sweep of two lanes."""
        folder = self.folder / "sweep"
        lanes = [
            Lane({"seed": str(i)}, self.recipe, self.files, str(self.folder / "tiny.safetensors"))
            for i in range(2)
        ]
        records = [
            manifest(
                self.recipe, self.files, self.weights, beside=lane_folder(folder, i), labels={"seed": str(i)}
            )
            for i in range(2)
        ]
        write_plan(folder, lanes, records, "a title")
        for i, record in enumerate(records):
            where = lane_folder(folder, i)
            where.mkdir(parents=True)
            history = History()
            history.add([0, 1, 2], [0.1, 0.2, 0.3], {"total": [3, 2, 1]})
            write_result(
                where,
                {
                    **record,
                    "status": FINISHED,
                    "fingerprint": fingerprint(record),
                    "loss": 1.0,
                    "distances": {"content": 0.1, "style": 0.2},
                    "steps": 2,
                    "seconds": 0.3,
                },
                np.full((12, 16, 3), 0.5, np.float32),
                history,
            )


def edited(rng: random.Random, data: Any) -> Any:
    """JSON with something deleted, exchanged, added or buried somewhere."""
    data = copy.deepcopy(data)
    places: list[tuple[Any, Any]] = []
    queue = [data]
    while queue:
        node = queue.pop()
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                queue.append(node[key])
    for _ in range(rng.randint(1, 2)):
        node, key = rng.choice(places)
        action = rng.randrange(5)
        with contextlib.suppress(KeyError, IndexError):
            if action == 0:
                del node[key]
            elif action == 1 and isinstance(node, dict):
                node[rng.choice(["new", "[/x]", "\x1b[2J", "", "type"])] = rng.choice(HOSTILE)
            else:
                node[key] = rng.choice(HOSTILE)
    return data


def as_json(rng: random.Random, data: Any) -> str:
    """Edited JSON as text, now and then as deep as JSON can be, or cut off."""
    kind = rng.randrange(12)
    if kind == 0:
        return "[" * 100_000 + "]" * 100_000
    if kind == 1:
        return '{"format":' * 5000 + "1" + "}" * 5000
    text = json.dumps(edited(rng, data))
    return text[: rng.randrange(len(text))] if kind == 2 else text


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Bytes cut off, changed, doubled or emptied."""
    kind, at = rng.randrange(6), rng.randrange(max(1, len(data)))
    if kind == 0:
        return data[:at]
    if kind == 1:
        return b""
    if kind == 2:
        return data[:at] + rng.randbytes(8) + data[at + 8 :]
    if kind == 3:
        return data[:at] + data
    if kind == 4:
        return rng.randbytes(200)
    changed = bytearray(data)
    for _ in range(rng.randint(1, 20)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def replayed(rng: random.Random, place: Place) -> list[str]:
    """A picture whose manifest was edited, or whose bytes are damaged."""
    target = place.folder / "made.png"
    try:
        save(target, np.full((12, 16, 3), 0.5, np.float32), text={"jaxstyle": as_json(rng, place.record)})
    except Exception:  # noqa: BLE001  a text that no picture can hold
        target.write_bytes(b"")
    if rng.random() < 0.2:
        target.write_bytes(damaged(rng, target.read_bytes()))
    return ["replay", str(target), "-o", str(place.folder / "again.png"), "--force"]


def reported(rng: random.Random, place: Place) -> list[str]:
    """A sweep's folder of which one file is edited, damaged or gone."""
    folder = place.folder / "sweep"
    path = rng.choice([folder / "manifest.json", *sorted((folder / "lanes").rglob("*.*"))])
    if path.suffix == ".json" and rng.random() < 0.7:
        path.write_text(as_json(rng, json.loads(path.read_text())), errors="surrogateescape")
    elif rng.random() < 0.2:
        path.unlink()
    else:
        path.write_bytes(damaged(rng, path.read_bytes()))
    return ["report", str(folder)]


def swept(rng: random.Random, place: Place) -> list[str]:
    """A sweep with odd settings, inputs or folders."""
    odd = rng.choice(
        [
            ["--seeds", rng.choice(["1000000000", *NUMBERS])],
            ["--vary", f"seed={rng.choice(NUMBERS)}"],
            ["--vary", f"{rng.choice(SETTINGS)}={rng.choice(NUMBERS)},{rng.choice(NUMBERS)}"],
            ["--contents", odd_file(rng, place)],
            ["--lanes", rng.choice(NUMBERS)],
            [f"--{rng.choice(SETTINGS)}", rng.choice(NUMBERS)],
        ]
    )
    output = rng.choice(["new", "photo.png", "x" * 300, "sweep", "/proc/nothing", "a\nb", "[/x]"])
    return [
        "sweep",
        str(place.folder / "photo.png"),
        rng.choice([str(place.folder / "painting.png"), odd_file(rng, place)]),
        "-o",
        str(place.folder / output),
        "--size",
        "16",
        "--steps",
        "2",
        "--weights",
        str(place.folder / "tiny.safetensors"),
        *odd,
    ]


def odd_file(rng: random.Random, place: Place) -> str:
    """The name of something that is no whole picture, or of a picture with an odd name."""
    kind = rng.randrange(6)
    if kind == 0:
        names = ["fifo.png", "socket.png", "missing.png", "x" * 300, "nothing/photo.png"]
        return str(place.folder / rng.choice(names))
    if kind == 1:
        return rng.choice(["/dev/zero", "/dev/null", "/proc/self/mem"])
    name = place.folder / rng.choice(NAMES)
    name.parent.mkdir(exist_ok=True)  # a name with a slash in it
    data = (place.folder / "photo.png").read_bytes()
    name.write_bytes(data if kind == 2 else damaged(rng, data))
    return str(name)


def painted(rng: random.Random, place: Place) -> list[str]:
    """`stylize` with odd settings, inputs and outputs."""
    output = rng.choice(
        ["out.png", "out.png", rng.choice(NAMES), "no/such/out.png", "x" * 300 + ".png", "out.xyz", ""]
    )
    content = str(place.folder / "photo.png") if rng.random() < 0.6 else odd_file(rng, place)
    options = [f"--{rng.choice(SETTINGS)}", rng.choice(NUMBERS)] if rng.random() < 0.8 else []
    return [
        rng.choice(["stylize", "stylize", "stylize", "stilyze"]),
        content,
        str(place.folder / "painting.png"),
        "-o",
        str(place.folder / output),
        "--weights",
        str(place.folder / "tiny.safetensors"),
        *options,
    ]


def weighed(rng: random.Random, place: Place) -> list[str]:
    """A weights file with an edited header, odd types, or damaged bytes."""
    data = (place.folder / "tiny.safetensors").read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    if rng.random() < 0.6:
        header = json.loads(data[8 : 8 + length])
        if rng.random() < 0.3:
            entry = header[rng.choice([name for name in header if name != "__metadata__"])]
            entry["dtype"] = rng.choice(["BF16", "F8_E4M3", "F16", "I64", "BOOL", "F64"])
        else:
            header = edited(rng, header)
        text = json.dumps(header).encode("utf-8", "surrogatepass")
        data = struct.pack("<Q", len(text)) + text + data[8 + length :]
    else:
        data = damaged(rng, data)
    path = place.folder / rng.choice(["w.safetensors", "w [/x].safetensors"])
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    if rng.random() < 0.5:
        return ["weights", "verify", str(path)]
    return [
        "stylize",
        str(place.folder / "photo.png"),
        str(place.folder / "painting.png"),
        "--weights",
        str(path),
        "-o",
        str(place.folder / "out.png"),
    ]


def ported(rng: random.Random, place: Place) -> list[str]:
    """A foreign weights file, damaged or of no kind."""
    name = rng.choice(["net.npz", "net.h5"])
    path = place.folder / f"bad{rng.choice(['.npz', '.h5', '.pth', '.mat', '.caffemodel', '.npy', ''])}"
    magic = rng.choice([b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"\x93NUMPY", b"\x80\x02", b"\n"])
    path.write_bytes(
        damaged(rng, (place.folder / name).read_bytes()) if rng.random() < 0.6 else magic + rng.randbytes(300)
    )
    source = str(path) if rng.random() < 0.9 else odd_file(rng, place)
    return ["weights", "port", source, "-o", str(place.folder / "p.safetensors"), "--force"]


def typed(rng: random.Random, place: Place) -> list[str]:
    """Words in no order."""
    words = [
        "stylize",
        "sweep",
        "tune",
        "report",
        "replay",
        "recipes",
        "weights",
        "verify",
        "default",
        "--size",
        "--help-me",
        "-o",
        "--force",
        "--terms.style.weight=1",
        "--terms.stile.weight",
        *NUMBERS,
    ]
    return [rng.choice(words[:7]), *rng.choices(words, k=rng.randint(0, 4))]


KINDS: list[Callable[[random.Random, Place], list[str]]] = [
    replayed,
    reported,
    swept,
    painted,
    weighed,
    ported,
    typed,
]
GIVEN = ("photo.png", "painting.png", "tiny.safetensors", "net.npz", "net.h5")


@contextlib.contextmanager
def no_runs() -> Iterator[None]:
    """Commands end where their run would begin."""

    def ended(*_: Any, **__: Any) -> Iterator[Any]:
        return iter(())

    with (
        mock.patch("jaxstyle.cli.stylize.render", lambda *_: 0),
        mock.patch("jaxstyle.cli.replay.render", lambda *_: 0),
        mock.patch("jaxstyle.sweeps.runner.batches", ended),
        mock.patch("jaxstyle.cli.tune.tune", ended),
        mock.patch("jaxstyle.report.plots.write_figure", lambda *_: None),
        mock.patch("jaxstyle.report.page.write_figure", lambda *_: None),
    ):
        yield


def attempt(arguments: list[str], place: Place) -> str:
    """What is wrong with how a command took its arguments; "" if nothing is."""
    before = {name: hashlib.sha256((place.folder / name).read_bytes()).hexdigest() for name in GIVEN}
    said, printed = io.StringIO(), io.StringIO()

    def late(*_: Any) -> None:
        raise TimeoutError

    old = signal.signal(signal.SIGALRM, late), signal.signal(signal.SIGVTALRM, late)
    signal.alarm(CASE_SECONDS)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
    code: Any = None
    try:
        with (
            contextlib.redirect_stderr(said),
            contextlib.redirect_stdout(printed),
            no_runs(),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            code = answered(arguments)
    except TimeoutError:
        return "hangs"
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # noqa: BLE001  that is what is looked for
        return "".join(traceback.format_exc().splitlines(keepends=True)[-6:])
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGALRM, old[0])
        signal.signal(signal.SIGVTALRM, old[1])
    errors = [line for line in said.getvalue().splitlines() if line.startswith("error:")]
    wild = re.findall(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", re.sub(r"\x1b\[[0-9;]*m", "", said.getvalue()))
    problems = {
        f"exit code {code}": code not in (0, 2),
        "no line of error": code == 2 and len(errors) != 1,
        "control characters": wild,
        "a half-written file": list(place.folder.rglob(".jaxstyle-*.tmp")),
        "an input was changed": before
        != {name: hashlib.sha256((place.folder / name).read_bytes()).hexdigest() for name in GIVEN},
    }
    return "; ".join(problem for problem, found in problems.items() if found) + (
        f": {said.getvalue()[:300]!r}" if any(problems.values()) else ""
    )


def fuzz(cases: int, seconds: float, seed: int, only: str = "") -> tuple[Counter, list[str]]:
    """Runs cases until there are enough or time is up; gives counts by kind, and the failures in words."""
    counts, failures, began = Counter(), [], time.monotonic()
    kinds = [kind for kind in KINDS if only in ("", kind.__name__)]
    for number in range(cases):
        if time.monotonic() - began > seconds:
            break
        rng, kind = random.Random(f"{seed} {number}"), kinds[number % len(kinds)]
        with tempfile.TemporaryDirectory() as folder:
            place = Place(Path(folder))
            arguments = kind(rng, place)
            started = time.monotonic()
            if problem := attempt(arguments, place):
                failures.append(f"case {number} ({kind.__name__}): {arguments!r}\n    {problem}")
        counts[kind.__name__] += 1
        if (took := time.monotonic() - started) > SLOW_SECONDS:
            print(f"case {number} ({kind.__name__}) took {took:.0f} s: {arguments}", flush=True)
    return counts, failures


def main() -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", choices=["", *(kind.__name__ for kind in KINDS)])
    asked = parser.parse_args()
    os.environ["JAXSTYLE_OPS"] = "reference"  # plain operations, which compile fast
    jax.config.update("jax_disable_most_optimizations", True)
    began = time.monotonic()
    counts, failures = fuzz(asked.cases, asked.seconds, asked.seed, asked.only)
    print("\n".join(failures), flush=True)
    print(
        f"{counts.total()} cases in {time.monotonic() - began:.0f} s ({dict(counts)}): "
        f"{len(failures)} failures"
    )
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
