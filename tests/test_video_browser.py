"""A written video in chromium's own player: its length, and what it shows at three times."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest
from browser import MISSING, browser
from clips import moving, write_clip
from PIL import Image

from jaxstyle.video.files.encode import Sound, Target, writer
from jaxstyle.video.files.frames import Selection, open_source

PAGE = """<!doctype html><body style="margin:0;background:#fff">
<video id="v" src="out.mp4" width="128" height="96" preload="auto" muted></video>"""
SEEK = """const video = document.getElementById("v");
window.shown = false;
video.onseeked = () => requestAnimationFrame(() => requestAnimationFrame(() => { window.shown = true; }));
video.currentTime = arguments[0];"""


@pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}")
def test_chromium_plays_it(tmp_path):
    colours = np.array([(200, 40, 60), (40, 170, 70), (50, 60, 210)])
    clip = write_clip(tmp_path / "clip.mp4", moving(36, 48, 64), rate=Fraction(12), audio=3)
    source = open_source(clip, Selection(), Fraction(24))
    target = Target(path=tmp_path / "out.mp4", height=96, width=128, rate=source.rate,
                    time_base=source.time_base, sound=Sound(clip, source.times[0]))
    with writer(target) as append:
        for index in range(36):
            image = np.broadcast_to(colours[index // 12].astype(np.uint8), (96, 128, 3))
            append(np.ascontiguousarray(image), Fraction(index, 12), Fraction(1, 12))
    (tmp_path / "page.html").write_text(PAGE)
    with browser(300, 200) as page:
        page.open(f"file://{tmp_path}/page.html")
        wait(page, "return document.getElementById('v').readyState >= 3")
        length, height, error = page.run("const v = document.getElementById('v');"
                                         "return [v.duration, v.videoHeight, v.error && v.error.message]")
        assert error is None and height == 96 and abs(length - 3) < 1 / 12 + 0.03
        for second, colour in enumerate(colours):
            page.run(SEEK, second + 0.5)
            wait(page, "return window.shown")
            shot = np.asarray(Image.open(io.BytesIO(page.picture())).convert("RGB")).astype(int)
            assert np.abs(shot[30:60, 40:90].mean((0, 1)) - colour).max() < 14


def wait(page, script: str) -> None:
    import time

    for _ in range(200):
        if page.run(script):
            return
        time.sleep(0.1)
    raise AssertionError(script)
