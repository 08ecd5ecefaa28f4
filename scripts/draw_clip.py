"""Draws a clip of moving shapes over a textured ground, with exactly known flow, or a longer one with sound.

    python scripts/draw_clip.py frames DIR --frames 48      pictures, and .flo files of the true flow
    python scripts/draw_clip.py sound clip.mp4 --seconds 10  24 frames per second, a tone that changes each
    second

Every surface carries a texture of its own coordinates and moves rigidly, so that the flow between two frames
is known exactly, and so is what becomes visible.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro
from tyro.conf import Positional

from jaxstyle.images.files import save
from jaxstyle.video.flo import write_flo

HEIGHT, WIDTH, RATE, SOUND_RATE = 192, 256, 24, 48_000


class Surface(NamedTuple):
    """A textured thing: its pose over time (centre x, y at frame 0, velocity, turn per frame) and its
    shape."""

    centre: tuple[float, float]
    velocity: tuple[float, float]
    turn: float
    half: tuple[float, float]  # half width and height; (r, 0) is a disc, (0, 0) the whole plane
    seed: int
    colour: tuple[float, float, float]


SURFACES = (
    Surface((0, 0), (-0.8, -0.35), 0.0, (0, 0), 1, (0.45, 0.5, 0.4)),
    Surface((0.28, 0.35), (2.1, 0.6), 0.0, (0.17, 0), 2, (0.75, 0.35, 0.25)),
    Surface((0.75, 0.6), (-1.6, -0.5), 0.02, (0.14, 0.2), 3, (0.25, 0.4, 0.75)),
)


def pose(surface: Surface, time: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rotation matrix and centre (x, y) of a surface at a frame; shapes swing to and fro and so stay in
    view."""
    swing = 30 * np.sin(time / 30) if max(surface.half) else time
    centre = np.array(surface.centre) * (width, height) + np.array(surface.velocity) * swing * height / HEIGHT
    angle = surface.turn * time
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]), centre


def inside(surface: Surface, place: np.ndarray, height: int) -> np.ndarray:
    """Whether places `[…, 2]` of a surface's own coordinates belong to it."""
    across, down = np.array(surface.half) * height
    if not across:
        return np.ones(place.shape[:-1], bool)
    if not down:
        return (place**2).sum(-1) <= across**2
    return (abs(place[..., 0]) <= across) & (abs(place[..., 1]) <= down)


def texture(surface: Surface, place: np.ndarray) -> np.ndarray:
    """Colour of places `[…, 2]` of a surface: waves of several lengths and directions, `[…, 3]` in [0, 1]."""
    rng = np.random.default_rng(surface.seed)
    value = np.zeros((*place.shape[:-1], 3))
    for length in (130, 80, 47, 29, 17, 10):
        for _ in range(3):
            angle, phase = rng.uniform(0, 2 * np.pi, 2)
            way = np.array([np.cos(angle), np.sin(angle)]) * 2 * np.pi / length
            value += np.sin(place @ way + phase)[..., None] * rng.normal(0, 0.012 * length**0.5, 3)
    return np.clip(np.array(surface.colour) + value, 0, 1)


def layers(time: int, height: int, width: int, places: np.ndarray) -> np.ndarray:
    """The number of the topmost surface at `places` (x, y) of a frame."""
    top = np.zeros(places.shape[:-1], int)
    for number, surface in enumerate(SURFACES):
        turn, centre = pose(surface, time, height, width)
        top = np.where(inside(surface, (places - centre) @ turn, height), number, top)
    return top


def grid(height: int, width: int) -> np.ndarray:
    """Places (x, y) of all pixels, `[H, W, 2]`."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(float)


def draw(time: int, height: int = HEIGHT, width: int = WIDTH, fine: int = 2) -> np.ndarray:
    """A frame, float32 `[H, W, 3]` in [0, 1], antialiased by `fine`² samples a pixel."""
    total = np.zeros((height, width, 3))
    for dx in (np.arange(fine) + 0.5) / fine - 0.5:
        for dy in (np.arange(fine) + 0.5) / fine - 0.5:
            places = grid(height, width) + np.array([dx, dy])
            top = layers(time, height, width, places)
            for number, surface in enumerate(SURFACES):
                turn, centre = pose(surface, time, height, width)
                total[top == number] += texture(surface, (places[top == number] - centre) @ turn)
    return (total / fine**2).astype(np.float32)


def flow(time: int, other: int, height: int = HEIGHT, width: int = WIDTH) -> tuple[np.ndarray, np.ndarray]:
    """True flow from the frame at `time` to that at `other`, float32 `[H, W, 2]`, and what is seen in
    both."""
    places = grid(height, width)
    top, moved = layers(time, height, width, places), np.zeros((height, width, 2))
    for number, surface in enumerate(SURFACES):
        (turn, centre), (turned, gone) = (pose(surface, t, height, width) for t in (time, other))
        there = (places - centre) @ turn @ turned.T + gone
        moved = np.where((top == number)[..., None], there, moved)
    within = ((moved >= 0) & (moved <= (width - 1, height - 1))).all(-1)
    seen = within & (layers(other, height, width, moved) == top)
    return (moved - places).astype(np.float32), seen


def frames(folder: Positional[Path], frames: int = 48, height: int = HEIGHT, width: int = WIDTH) -> None:
    """Pictures 0001.png … and the true flow between neighbours, as .flo files in DIR/flow."""
    (folder / "flow").mkdir(parents=True, exist_ok=True)
    for time in range(frames):
        save(folder / f"{time + 1:04d}.png", draw(time, height, width))
        if time:
            for name, pair in (("backward", (time, time - 1)), ("forward", (time - 1, time))):
                path = folder / "flow" / f"{name}_{pair[0] + 1}_{pair[1] + 1}.flo"
                write_flo(path, flow(*pair, height, width)[0])


def sound(path: Positional[Path], seconds: float = 10, height: int = HEIGHT, width: int = WIDTH) -> None:
    """A video of 24 frames per second (H.264) with sound (AAC): a tone that climbs every second."""
    import av

    with av.open(str(path), "w") as output:
        picture: Any = output.add_stream("libx264", rate=RATE, options={"crf": "16"})
        picture.height, picture.width, picture.pix_fmt = height, width, "yuv420p"
        tone: Any = output.add_stream("aac", rate=SOUND_RATE)
        for time in range(round(seconds * RATE)):
            image = np.rint(draw(time, height, width) * 255).astype(np.uint8)
            output.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(picture.encode())
        samples = np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE
        wave = 0.2 * np.sin(2 * np.pi * 220 * 2 ** (np.floor(samples) / 12) * samples).astype(np.float32)
        for start in range(0, len(wave), 1024):
            heard = av.AudioFrame.from_ndarray(wave[None, start:start + 1024], format="fltp", layout="mono")
            heard.sample_rate, heard.pts, heard.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
            output.mux(tone.encode(heard))
        output.mux(tone.encode())


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"frames": frames, "sound": sound}, description=__doc__)
