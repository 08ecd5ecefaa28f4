"""Frames per second of a fast network on a video, decoding and encoding included, and of a PyTorch loop.

    scripts/benchmark.py video CLIP --sizes 256 512 --frames 48

Both read the same file, run a Johnson network of equal shape and equal random numbers and write H.264. Ours
goes through `jaxstyle.video`: it decodes ahead, writes every frame as a PNG too, so that it can go on after a
kill, and computes flow and blends where `stabilise` is above 0; the loop does one thing after the other.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
import tyro
from tyro.conf import Positional

from jaxstyle.fast.card import Card
from jaxstyle.fast.model import Model
from jaxstyle.fast.network import StyleNetwork
from jaxstyle.video import folder as files
from jaxstyle.video.estimate import flow_source
from jaxstyle.video.feed_forward import function_of
from jaxstyle.video.files.frames import Selection, open_source
from jaxstyle.video.make import Job, make
from jaxstyle.video.request import FAST_CUT, Request, output_shape
from jaxstyle.video.steady import paint_fast


@dataclass(frozen=True)
class Arguments:
    """What is measured."""

    clip: Annotated[Path, Positional]
    """A video file."""
    sizes: tuple[int, ...] = (256, 512)
    """Longer sides of the result."""
    frames: int = 48
    """Frames of the clip that are used; the first is left out of the time."""
    torch: bool = True
    """Measure the PyTorch loop too."""


def random_model() -> Model:
    """A Johnson network with instance norm and random numbers."""
    network, rng = StyleNetwork(styles=1, norm="instance", output="linear"), np.random.default_rng(0)
    params: dict[str, Any] = {}
    for layer in network.layers:
        fan = layer.size**2 * layer.inputs
        kernel = rng.normal(0, (2 / fan)**0.5, (layer.size, layer.size, layer.inputs, layer.outputs))
        params[layer.name] = {"kernel": jnp.asarray(kernel, jnp.float32)}
        if layer.normalised:
            params[layer.name] |= {"scale": jnp.ones((1, layer.outputs)),
                                   "offset": jnp.zeros((1, layer.outputs))}
        else:
            params[layer.name]["bias"] = jnp.full(layer.outputs, 0.5)
    return Model(network, params, {}, Card(name="random", styles=("random",)))


def ours(model: Model, arguments: Arguments, size: int, stabilise: float, folder: Path) -> float:
    """Frames per second of `jaxstyle.video`."""
    request = Request(source=arguments.clip, output=folder / f"{size}-{stabilise}.mp4", model="random",
                      size=size)
    whole = open_source(request.source, Selection(), Fraction(24))
    end = whole.times[min(arguments.frames, len(whole.times) - 1)] - whole.times[0]
    selection = Selection(end=end)
    source = open_source(request.source, selection, Fraction(24))
    height, width = output_shape(source, request)
    apply, work = function_of(model, jnp.ones(1)), files.work_folder(request.output)
    job = Job(source=source, selection=selection, output=request.output, height=height, width=width,
              paint=lambda image, earlier: paint_fast(apply, stabilise, image, earlier),
              offsets=(1,) if stabilise else (), cut=FAST_CUT, flow_of=flow_source(None, work / files.FLOW),
              manifest={"format": files.FORMAT})
    files.begin(work, job.manifest, force=True)
    return paced(make(job))


def paced(frames: Any) -> float:
    """Frames per second from the second frame on, to the end of the last and of the file."""
    began, count = 0.0, -1
    for _ in frames:
        count += 1
        began = began or time.perf_counter()
    return count / (time.perf_counter() - began)


def torch_network(model: Model) -> Any:
    """The same network in PyTorch: uint8 `[H, W, 3]` -> uint8 `[H, W, 3]`."""
    import torch
    from torch.nn import functional as F

    weights = {name: {key: torch.from_numpy(np.asarray(value).copy()) for key, value in of.items()}
               for name, of in model.params.items()}
    kernels = {name: of["kernel"].permute(3, 2, 0, 1).contiguous() for name, of in weights.items()}

    def run(image: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
            kept = x
            for layer in model.network.layers:
                if layer.block:
                    kept = x
                if layer.up:
                    x = F.interpolate(x, scale_factor=2, mode="nearest")
                x = F.conv2d(F.pad(x, (layer.size // 2,) * 4, mode="reflect"), kernels[layer.name],
                             weights[layer.name].get("bias"), stride=layer.stride)
                if layer.normalised:
                    x = F.instance_norm(x, weight=weights[layer.name]["scale"][0],
                                        bias=weights[layer.name]["offset"][0])
                x = x + kept if layer.skip else x
                x = F.relu(x) if layer.relu and layer.name != "out" else x
            return (x[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()

    return run


def torch_loop(model: Model, arguments: Arguments, size: int, folder: Path) -> float:
    """Frames per second of a plain loop over PyAV."""
    import av

    run = torch_network(model)
    request = Request(source=arguments.clip, output=folder / "torch.mp4", model="random", size=size)
    height, width = output_shape(open_source(request.source, Selection(), Fraction(24)), request)

    def frames() -> Any:
        with av.open(str(request.source)) as source, av.open(str(request.output), "w") as output:
            stream: Any = output.add_stream("libx264", rate=24, options={"crf": "18"})
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            for index, frame in enumerate(source.decode(video=0)):
                if index == arguments.frames:
                    break
                made = run(frame.reformat(width=width, height=height, format="rgb24").to_ndarray())
                output.mux(stream.encode(av.VideoFrame.from_ndarray(made, format="rgb24")))
                yield made
            output.mux(stream.encode())

    return paced(frames())


def main() -> None:
    """Print one line of JSON for each size and variant."""
    arguments = tyro.cli(Arguments, description=__doc__)
    model = random_model()
    with tempfile.TemporaryDirectory() as name:
        for size in arguments.sizes:
            rows = {f"jaxstyle, stabilise {share:g}": ours(model, arguments, size, share, Path(name))
                    for share in (0, 0.7)}
            if arguments.torch:
                rows["PyTorch + PyAV"] = torch_loop(model, arguments, size, Path(name))
            for variant, pace in rows.items():
                row = {"size": size, "variant": variant, "frames_per_second": round(pace, 2)}
                print(json.dumps(row), flush=True)
