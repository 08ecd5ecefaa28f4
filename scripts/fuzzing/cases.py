"""The cases: each makes the arguments of a command, after something in the place was damaged."""

from __future__ import annotations

import json
import random
import shutil
import struct
from collections.abc import Callable

import numpy as np

from fuzzing.damage import NAMES, NUMBERS, SETTINGS, as_json, damaged, edited
from fuzzing.place import Place
from jaxstyle.cli.main import COMMANDS
from jaxstyle.images.files import save


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
    odd = rng.choice([
            ["--seeds", rng.choice(["1000000000", *NUMBERS])],
            ["--vary", f"seed={rng.choice(NUMBERS)}"],
            ["--vary", f"{rng.choice(SETTINGS)}={rng.choice(NUMBERS)},{rng.choice(NUMBERS)}"],
            ["--contents", odd_file(rng, place)],
            ["--lanes", rng.choice(NUMBERS)],
            [f"--{rng.choice(SETTINGS)}", rng.choice(NUMBERS)],
    ])
    output = rng.choice(["new", "photo.png", "x" * 300, "sweep", "/proc/nothing", "a\nb", "[/x]"])
    painting = rng.choice([str(place.folder / "painting.png"), odd_file(rng, place)])
    return ["sweep", str(place.folder / "photo.png"), painting, "-o", str(place.folder / output), "--size",
            "16", "--steps", "2", "--weights", str(place.folder / "tiny.safetensors"), *odd]


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
    return [rng.choice(["stylize", "stylize", "stylize", "stilyze"]), content,
            str(place.folder / "painting.png"), "-o", str(place.folder / output), "--weights",
            str(place.folder / "tiny.safetensors"), *options]


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
    return ["stylize", str(place.folder / "photo.png"), str(place.folder / "painting.png"), "--weights",
            str(path), "-o", str(place.folder / "out.png")]


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
    words = [*COMMANDS, "verify", "default", "--size", "--help-me", "-o", "--force", "--terms.style.weight=1",
             "--terms.stile.weight", *NUMBERS]
    return [rng.choice(list(COMMANDS)), *rng.choices(words, k=rng.randint(0, 4))]


def modelled(rng: random.Random, place: Place) -> list[str]:
    """A fast network whose card or numbers are edited or damaged, or odd ways to use a good one."""
    name = rng.choice(["model.safetensors", "model"])
    path = place.folder / f"bad{'.safetensors' if name != 'model' else ''}"
    if name == "model":
        shutil.copytree(place.folder / "model", path)
        part = rng.choice([path / "card.json", *(file for file in sorted(path.rglob("*")) if file.is_file())])
        if part.name == "card.json":
            header = json.loads(part.read_text())
            inner = rng.choice(["card", "network"])
            header = ({**header, inner: as_json(rng, json.loads(header[inner]))} if rng.random() < 0.5
                      else edited(rng, header))
            part.write_text(json.dumps(header), errors="surrogateescape")
        else:
            part.write_bytes(damaged(rng, part.read_bytes()))
    else:
        path.write_bytes(damaged(rng, (place.folder / name).read_bytes()))
    model = rng.choice([path, path, path, place.folder / "model.safetensors", "nothing"])
    photo = rng.choice([str(place.folder / "photo.png"), odd_file(rng, place)])
    blend = rng.choice(["wave=1,starry=nan", "wave", "wave=0,starry=0", "x=1", "=,="])
    options = rng.choice([["--blend", blend], ["--style", "nobody"], ["--strength", rng.choice(NUMBERS)],
                          ["--size", rng.choice(NUMBERS)], ["--region", f"{photo}=wave"], []])
    target = place.folder / rng.choice(["m.stablehlo", "m.onnx", "m.safetensors"])
    return rng.choice([
        ["apply", str(model), photo, "-o", str(place.folder / "restyled"), *options],
        ["export", str(model), "-o", str(target)],
        ["stylize", photo, str(place.folder / "painting.png"), "--start-from", str(model), "-o",
         str(place.folder / "out.png"), "--weights", str(place.folder / "tiny.safetensors")],
    ])


def trained(rng: random.Random, place: Place) -> list[str]:
    """Training with odd settings, photos, or a folder that holds something else."""
    photos = place.folder / rng.choice(["sweep", "model", "nothing", "photo.png", "."])
    output = place.folder / rng.choice(["new", "sweep", "model", "photo.png", "x" * 300])
    field = rng.choice(["steps", "batch", "crop", "style-size", "learning-rate", "architecture.width",
                        "names", "architecture.norm", "save-every", "add-to", "terms.style.weight"])
    if rng.random() < 0.3:
        output = place.folder / "begun"
        output.mkdir()
        (output / "training.json").write_text(as_json(rng, {"recipe": {"steps": 2}, "weights": "a" * 64}))
    return ["train", rng.choice([str(place.folder / "painting.png"), odd_file(rng, place)]), "--photos",
            str(photos), "-o", str(output), "--weights", str(place.folder / "tiny.safetensors"),
            *rng.choice([[], ["--resume"]]), f"--{field}", rng.choice([*NUMBERS, "8"])]


def filmed(rng: random.Random, place: Place) -> list[str]:
    """A damaged video, a folder of frames whose manifest is edited, or odd settings."""
    clip = place.folder / "bad.mp4"
    clip.write_bytes(damaged(rng, (place.folder / "clip.mp4").read_bytes()))
    source = rng.choice([clip, clip, place.folder / "clip.mp4", place.folder / "sweep", odd_file(rng, place)])
    output = rng.choice(["out.mp4", "frames", "photo.png", "no/such/out.mkv", "out.xyz", "x" * 300])
    if output == "frames":
        (place.folder / "frames").mkdir()
        footage = {"source": {"path": "clip.mp4", "sha256": "0" * 64}, "start": "0", "end": None, "every": 1,
                   "rate": "8", "size": None, "stabilise": 0.7, "blend": "", "flow": None, "even": False}
        data = {"format": "jaxstyle-video-1", "video": footage, "status": "running",
                "model": {"path": "model", "sha256": "0" * 64}}
        (place.folder / "frames" / "manifest.json").write_text(as_json(rng, data), errors="surrogateescape")
        if rng.random() < 0.5:
            return ["replay", str(place.folder / "frames"), "-o", str(place.folder / "again")]
    option = rng.choice(["start", "end", "every", "fps", "size", "stabilise", "crf", "blend", "steps",
                         "flow"])
    return ["video", str(source), "--model", str(place.folder / "model.safetensors"), "-o",
            str(place.folder / output), f"--{option}", rng.choice([*NUMBERS, "1:2:3:4", "0:00.2"])]


def mapped(rng: random.Random, place: Place) -> list[str]:
    """Maps that are damaged, of another size, or no maps at all."""
    bad = place.folder / "bad_sem.png"
    bad.write_bytes(damaged(rng, (place.folder / "map.png").read_bytes()))
    some = [str(bad), str(place.folder / "map.png"), str(place.folder / "photo.png"), odd_file(rng, place)]
    photo, painting = (str(place.folder / name) for name in ("photo.png", "painting.png"))
    return rng.choice([
        ["maps", "check", photo, rng.choice(some),
         *rng.choice([[], [painting], [painting, rng.choice(some)]])],
        ["doodle", rng.choice(some), painting, rng.choice(some), "-o", str(place.folder / "out.png"),
         "--weights", str(place.folder / "tiny.safetensors"), "--size", rng.choice([*NUMBERS, "16"])],
        ["maps", "auto", rng.choice(some), painting, "-k", rng.choice(NUMBERS), "--weights",
         str(place.folder / "tiny.safetensors")],
    ])


KINDS: list[Callable[[random.Random, Place], list[str]]] = [
    replayed, reported, swept, painted, weighed, ported, typed, modelled, trained, filmed, mapped,
]
