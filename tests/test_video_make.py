"""Videos from end to end with a painter that costs nothing: resuming, damage, both kinds of output."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from clips import decoded, moving, packets, write_clip

from jaxstyle.errors import JaxstyleError
from jaxstyle.video import folder as files
from jaxstyle.video.estimate import flow_source
from jaxstyle.video.files.frames import Selection, open_source
from jaxstyle.video.make import Job, make, read_recorded

ENTRY = {"path": "clip.mp4", "sha256": "0" * 64}
MANIFEST = {"format": files.FORMAT, "model": ENTRY, "video": {
    "source": ENTRY, "start": "0", "end": None, "every": 1, "rate": "24", "size": None, "flow": None,
    "even": True}}


def job_for(place: Path, output: str, paint) -> Job:
    source = open_source(place / "clip.mp4", Selection(), Fraction(24))
    path = place / output
    return Job(source=source, selection=Selection(), output=path, height=48, width=64, paint=paint,
               offsets=(1,), cut=0.2, manifest=MANIFEST, measure=True,
               flow_of=flow_source(None, files.work_folder(path) / files.FLOW))


def trailing(image, earlier):
    """A result that depends on all frames before."""
    before = image if earlier[0] is None else earlier[0].result
    return ((image.astype(int) + before + 1) // 2).astype(np.uint8), {}


def dying(after: int):
    """`trailing`, interrupted in the middle of the frame after so many."""
    made = []

    def paint(image, earlier):
        if len(made) == after:
            raise KeyboardInterrupt
        made.append(1)
        return trailing(image, earlier)

    return paint


@pytest.fixture
def place(tmp_path) -> Path:
    write_clip(tmp_path / "clip.mp4", moving(7), rate=Fraction(12), audio=0.6)
    return tmp_path


def run(job: Job, force: bool = False) -> list[bool]:
    """Which frames were painted anew."""
    files.begin(files.work_folder(job.output), job.manifest, force)
    return [painted.fresh for painted in make(job)]


@pytest.mark.parametrize("output", ["out.mp4", "out"])
def test_interrupted_it_ends_with_the_same_bits(place, output):
    straight = job_for(place, f"straight-{output}", trailing)
    assert run(straight) == [True] * 7
    for after in (2, 3):  # interrupted twice
        with pytest.raises(KeyboardInterrupt):
            run(job_for(place, output, dying(after)))
        assert not (place / "out.mp4").exists() and not list(place.glob(".jaxstyle*"))
    work = files.work_folder(place / output)
    assert 3 <= files.count_done(work) <= 5
    damaged = files.frame_path(work, 1)
    damaged.write_bytes(damaged.read_bytes()[:60])
    fresh = run(job_for(place, output, trailing))
    assert fresh[0] is False and fresh[1] is True and fresh[2] is False and fresh[-1] is True
    if output == "out":
        pairs = [(files.read_frame(place / "out", i, 48, 64), files.read_frame(straight.output, i, 48, 64))
                 for i in range(7)]
        assert json.loads((place / "out/manifest.json").read_text())["status"] == "finished"
        assert not (place / "out/flow").exists()
    else:
        pairs = list(zip(decoded(place / "out.mp4")[1], decoded(straight.output)[1], strict=True))
        assert not work.exists() and read_recorded(place / "out.mp4")["status"] == "finished"
        sounds = [[data for data, _ in packets(place / name)] for name in ("clip.mp4", "out.mp4")]
        assert len(sounds[0]) > 20 and sounds[0] == sounds[1]
    for one, other in pairs:
        np.testing.assert_array_equal(one, other)


def test_a_folder_that_holds_something_else_is_left_alone(place):
    assert run(job_for(place, "out", trailing)) == [True] * 7
    with pytest.raises(JaxstyleError, match="finished"):
        run(job_for(place, "out", trailing))
    (place / "out/notes.txt").write_text("mine")
    assert run(job_for(place, "out", trailing), force=True) == [True] * 7
    assert (place / "out/notes.txt").read_text() == "mine"
    (place / "other").mkdir()
    (place / "other/notes.txt").write_text("mine")
    with pytest.raises(JaxstyleError, match="holds no video"):
        run(job_for(place, "other", trailing), force=True)
    with pytest.raises(JaxstyleError, match="no jaxstyle manifest"):
        read_recorded(place / "clip.mp4")
