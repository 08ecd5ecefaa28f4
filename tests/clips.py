"""Small video files for tests, and the script that draws clips of known flow."""

import importlib.util
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av", reason="needs the extra jaxstyle[video]")
pytest.importorskip("cv2", reason="needs the extra jaxstyle[video]")

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


def script(name: str):
    """A file of scripts/ as a module."""
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def moving(count: int = 6, height: int = 48, width: int = 64, seed: int = 0) -> list[np.ndarray]:
    """Frames uint8 of a smooth texture that moves two pixels to the left each time."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((height // 4, (width + 2 * count) // 4 + 2, 3))
    wide = np.kron(coarse, np.ones((4, 4, 1)))
    for _ in range(2):
        wide = (wide + np.roll(wide, 1, 0) + np.roll(wide, 1, 1) + np.roll(wide, -1, 1)) / 4
    return [np.rint(wide[:height, 2 * i:2 * i + width] * 255).astype(np.uint8) for i in range(count)]


def write_clip(path: Path, frames, *, rate=Fraction(24), pts=None, codec="libx264", audio=0, format=None,
               time_base=None, full=False, matrix=5, turn=0, options=None) -> Path:
    """A video file of frames uint8; `pts` in units of `time_base`; `audio` seconds of a tone in AAC."""
    with av.open(str(path), "w", format=format) as output:
        stream = output.add_stream(codec, rate=rate, options={"crf": "10", **(options or {})})
        stream.height, stream.width, _ = frames[0].shape
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.color_range, context.colorspace = (2 if full else 1), matrix
        if time_base:
            context.time_base = stream.time_base = time_base
        if turn:
            stream.set_display_rotation(turn)
        tone = output.add_stream("aac", rate=48_000) if audio else None
        for i, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=matrix, dst_color_range=2 if full else 1)
            frame.colorspace, frame.color_range = matrix, (2 if full else 1)
            if pts:
                frame.pts, frame.time_base = pts[i], time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
        if tone is not None:
            wave = 0.2 * np.sin(np.arange(round(audio * 48_000)) / 30).astype(np.float32)
            for start in range(0, len(wave), 1024):
                part = wave[None, start:start + 1024]
                heard = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
                heard.sample_rate, heard.pts, heard.time_base = 48_000, start, Fraction(1, 48_000)
                output.mux(tone.encode(heard))
            output.mux(tone.encode())
    return path


def decoded(path: Path) -> tuple[list[Fraction], list[np.ndarray]]:
    """Times and pixels of a file's frames, as PyAV alone reads them."""
    with av.open(str(path)) as container:
        found = [(frame.pts * frame.time_base, frame.to_ndarray(format="rgb24"))
                 for frame in container.decode(video=0)]
    return [time for time, _ in found], [image for _, image in found]


def packets(path: Path) -> list[tuple[bytes, Fraction]]:
    """Bytes and times of a file's packets of sound."""
    with av.open(str(path)) as container:
        return [(bytes(packet), packet.pts * packet.time_base) for packet in container.demux(audio=0)
                if packet.size]
