"""Video files in and out: rates, rotation, colours, sound; and what is refused."""

from __future__ import annotations

import os
import shutil
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from clips import av, decoded, moving, packets, write_clip
from PIL import Image

from jaxstyle.errors import JaxstyleError
from jaxstyle.video.files import decode
from jaxstyle.video.files.encode import Sound, Target, writer
from jaxstyle.video.files.frames import Selection, ahead, open_source, read
from jaxstyle.video.sequence import behind

ALL = Selection()


def opened(path: Path, selection: Selection = ALL):
    source = open_source(path, selection, Fraction(24))
    return source, list(read(source, source.height, source.width))


def patches(height: int = 48, width: int = 64) -> np.ndarray:
    """Four flat colours, one in each corner."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:height // 2, :width // 2] = (200, 40, 60)
    image[:height // 2, width // 2:] = (40, 180, 70)
    image[height // 2:, :width // 2] = (50, 60, 210)
    image[height // 2:, width // 2:] = (230, 220, 80)
    return image


def corners(image: np.ndarray) -> np.ndarray:
    height, width, _ = image.shape
    return image[[height // 4, height // 4, -height // 4, -height // 4],
                 [width // 4, -width // 4, width // 4, -width // 4]].astype(int)


def test_frames_come_with_their_times(tmp_path):
    path = write_clip(tmp_path / "a.mp4", moving(6), rate=Fraction(24000, 1001))
    source, frames = opened(path)
    assert [frame.time for frame in frames] == [Fraction(1001 * i, 24000) for i in range(6)]
    assert source.rate == Fraction(24000, 1001) and source.duration == Fraction(6 * 1001, 24000)
    assert [frame.number for frame in frames] == [1, 2, 3, 4, 5, 6]
    for frame, image in zip(frames, moving(6)):
        assert np.abs(frame.image.mean(-1) - image.mean(-1)).mean() < 8


def test_variable_rates_and_selections_keep_their_times(tmp_path):
    pts = [0, 40, 50, 130, 200, 210]
    path = write_clip(tmp_path / "a.mkv", moving(6), pts=pts, time_base=Fraction(1, 1000))
    source, frames = opened(path)
    assert [frame.time * 1000 for frame in frames] == pts
    source, frames = opened(path, Selection(start=Fraction("0.045"), end=Fraction("0.205")))
    assert [frame.number for frame in frames] == [3, 4, 5] and source.duration == Fraction(160, 1000)
    source, frames = opened(path, Selection(every=2))
    assert [frame.time * 1000 for frame in frames] == [0, 50, 200]
    np.testing.assert_array_equal(frames[1].image, opened(path)[1][2].image)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotation_is_applied(tmp_path, turn):
    path = write_clip(tmp_path / "a.mp4", [patches()] * 3, turn=turn)
    source, frames = opened(path)
    assert (source.height, source.width) == ((48, 64) if turn == 180 else (64, 48))
    wanted = np.rot90(patches(), turn // 90)  # FFmpeg counts a display matrix anticlockwise
    assert np.abs(corners(frames[0].image) - corners(wanted)).max() < 12


@pytest.mark.parametrize(("matrix", "full"), [(1, False), (1, True), (5, False), (5, True), (9, False)])
def test_colour_matrix_and_range_are_respected(tmp_path, matrix, full):
    path = write_clip(tmp_path / "a.mp4", [patches()] * 2, matrix=matrix, full=full)
    _, frames = opened(path)
    assert np.abs(corners(frames[0].image) - corners(patches())).max() < 6


def test_what_is_written_is_what_players_show(tmp_path):
    with writer(make_target(tmp_path / "o.mp4", rate=Fraction(25), time_base=Fraction(1, 25),
                            metadata={"jaxstyle": "made"})) as append:
        for i in range(4):
            append(patches(), Fraction(i, 25), Fraction(1, 25))
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert container.metadata["jaxstyle"] == "made"
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_range, frame.format.name) == (1, 1, "yuv420p")
    assert np.abs(corners(opened(tmp_path / "o.mp4")[1][2].image) - corners(patches())).max() < 6
    assert [path.name for path in tmp_path.iterdir()] == ["o.mp4"]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_sound_is_copied_packet_by_packet(tmp_path, suffix):
    path = write_clip(tmp_path / "a.mp4", moving(12), rate=Fraction(12), audio=1)
    source, frames = opened(path)
    target = Target(path=tmp_path / f"o{suffix}", height=48, width=64, rate=source.rate, crf=30,
                    time_base=source.time_base, sound=Sound(path, source.times[0]))
    with writer(target) as append:
        for frame in frames:
            append(frame.image, frame.time, Fraction(1, 12))
    before, after = packets(path), packets(target.path)
    assert len(before) > 40 and [data for data, _ in before] == [data for data, _ in after]
    times, _ = decoded(target.path)
    shift = times[0]  # Matroska has no times below 0, where the sound's first packet lies: all move alike
    assert shift == 0 or suffix == ".mkv"
    assert max(abs(b - shift - a) for (_, a), (_, b) in zip(before, after)) <= Fraction(1, 500)
    assert max(abs(a - shift - b.time) for a, b in zip(times, frames)) <= Fraction(1, 500)
    with av.open(str(path)) as one, av.open(str(target.path)) as other:
        assert abs(one.duration - other.duration) < 1e6 / 12


def test_a_part_has_the_sound_of_that_part(tmp_path):
    path = write_clip(tmp_path / "a.mp4", moving(24), rate=Fraction(12), audio=2)
    source, frames = opened(path, Selection(start=Fraction(1, 2), end=Fraction(1)))
    assert len(frames) == 6
    begin = source.times[0]
    sound = Sound(path, begin, begin, begin + source.duration)
    with writer(Target(path=tmp_path / "o.mp4", height=48, width=64, rate=source.rate, sound=sound,
                       time_base=source.time_base)) as append:
        for frame in frames:
            append(frame.image, frame.time, Fraction(1, 12))
    found = packets(tmp_path / "o.mp4")
    whole = packets(path)
    first = [data for data, _ in whole].index(found[0][0])
    assert 0 <= whole[first][1] - begin < Fraction(1, 40) and 22 <= len(found) <= 24


def test_pixels_that_are_not_square_become_so(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=24)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)
        for image in moving(2):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode())
    source, frames = opened(path)
    assert (source.height, source.width) == (48, 96) and frames[1].image.shape == (48, 96, 3)


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path):
    for number, image in zip((8, 9, 10), moving(3)):
        Image.fromarray(image).save(tmp_path / f"shot2_{number}.png")
    _, frames = opened(tmp_path)
    assert [frame.number for frame in frames] == [8, 9, 10] and frames[2].time == Fraction(2, 24)
    np.testing.assert_array_equal(frames[1].image, moving(3)[1])


def test_work_ahead_and_behind_keeps_order_and_passes_errors_on():
    def items():
        yield from range(5)
        raise JaxstyleError("no more")

    seen = []
    with pytest.raises(JaxstyleError, match="no more"):
        for item in ahead(items()):
            seen.append(item)
    assert seen == [0, 1, 2, 3, 4]
    threads = threading.active_count()
    for item in ahead(iter(range(100))):
        if item == 3:
            break
    assert threading.active_count() <= threads + 1
    written = []
    with behind(written.append) as put:
        for item in range(20):
            put(item)
    assert written == list(range(20))

    def fail(item):
        raise JaxstyleError("disk full")

    with pytest.raises(JaxstyleError, match="disk full"), behind(fail) as put:
        for item in range(20):
            put(item)


def truncated(folder: Path) -> Path:
    path = write_clip(folder / "t.mkv", moving(72), audio=3, options={"g": "12"})
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    return path


def headless(folder: Path) -> Path:
    path = write_clip(folder / "t.mp4", moving(12))
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    return path


def only_sound(folder: Path) -> Path:
    write_clip(folder / "a.mp4", moving(2), audio=1)
    path = folder / "s.m4a"
    with av.open(str(folder / "a.mp4")) as source, av.open(str(path), "w", format="mp4") as output:
        stream = output.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    return path


def no_frames(folder: Path) -> Path:
    with av.open(str(folder / "z.mkv"), "w") as output:
        stream = output.add_stream("libx264", rate=24)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        output.start_encoding()
    return folder / "z.mkv"


def unknown_codec(folder: Path) -> Path:
    path = write_clip(folder / "u.avi", moving(3), codec="mpeg4", format="avi")
    path.write_bytes(path.read_bytes().replace(b"FMP4", b"Q?7Z"))
    return path


def changing(folder: Path) -> Path:
    one = write_clip(folder / "1.ts", moving(8), format="mpegts")
    two = write_clip(folder / "2.ts", moving(8, 64, 80), format="mpegts")
    (folder / "c.ts").write_bytes(one.read_bytes() + two.read_bytes())
    return folder / "c.ts"


def pictures(*names: str):
    def make(folder: Path) -> Path:
        (folder / "frames").mkdir()
        for name in names:
            Image.fromarray(moving(1)[0]).save(folder / "frames" / name)
        return folder / "frames"
    return make


def uneven(folder: Path) -> Path:
    Image.fromarray(moving(1, 32, 32)[0]).save(pictures("1.png", "3.png")(folder) / "2.png")
    return folder / "frames"


def text(folder: Path) -> Path:
    (folder / "x.mp4").write_text("no video at all\n" * 50)
    return folder / "x.mp4"


def broken_picture(folder: Path) -> Path:
    (pictures("1.png", "3.png")(folder) / "2.png").write_bytes(b"\x89PNG")
    return folder / "frames"


BAD = {
    "missing": (lambda folder: folder / "no.mp4", "no such file"),
    "text": (text, "not a video"),
    "truncated": (truncated, "truncated or damaged after"),
    "without its index": (headless, "truncated"),
    "sound only": (only_sound, "no video stream"),
    "no frames": (no_frames, "no frames|not a video|cannot be decoded"),
    "unknown codec": (unknown_codec, "codec"),
    "changing size": (changing, "changes its size"),
    "a gap": (pictures("f1.png", "f2.png", "f4.png"), "frame 3 is missing"),
    "no number": (pictures("one.png"), "no number"),
    "a number twice": (pictures("a1.png", "b1.png"), "the same number"),
    "no pictures": (pictures(), "holds no pictures"),
    "sizes differ": (uneven, "is 32×32 pixels"),
    "a broken picture": (broken_picture, "2.png"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_inputs_are_one_clear_line(tmp_path, case):
    make, message = BAD[case]
    path = make(tmp_path)
    with pytest.raises(JaxstyleError, match=message) as caught:
        opened(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize(("selection", "message"), [
    (Selection(start=Fraction(99)), "no frame between"), (Selection(every=0), "at least 1"),
    (Selection(start=Fraction(2), end=Fraction(1)), "not after the start"),
])
def test_selections_that_make_no_sense(tmp_path, selection, message):
    path = write_clip(tmp_path / "a.mp4", moving(3))
    with pytest.raises(JaxstyleError, match=message):
        opened(path, selection)


def make_target(path: Path, **changes) -> Target:
    return Target(**{"path": path, "height": 48, "width": 64, "rate": Fraction(24),
                     "time_base": Fraction(1, 24), **changes})


@pytest.mark.parametrize(("name", "changes", "message"), [
    ("o.gif", {}, "cannot write this kind"), ("o.mp4", {"width": 63}, "even sizes only"),
    ("no/o.mp4", {}, "cannot be written"),
])
def test_bad_outputs_leave_nothing_behind(tmp_path, name, changes, message):
    target = make_target(tmp_path / name, **changes)
    with pytest.raises(JaxstyleError, match=message), writer(target) as append:
        append(patches(), Fraction(0), Fraction(1, 24))
    assert not list(tmp_path.iterdir())


def test_an_exception_leaves_the_old_file(tmp_path):
    (tmp_path / "o.mp4").write_text("old")
    with pytest.raises(KeyboardInterrupt), writer(make_target(tmp_path / "o.mp4")) as append:
        append(patches(), Fraction(0), Fraction(1, 24))
        raise KeyboardInterrupt
    assert (tmp_path / "o.mp4").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_sound_that_a_container_cannot_hold(tmp_path):
    path = write_clip(tmp_path / "a.mp4", moving(4), audio=1)
    target = make_target(tmp_path / "o.webm", sound=Sound(path, Fraction(0)))
    with pytest.raises(JaxstyleError, match=r"cannot (hold the sound|be written)"), writer(target) as append:
        append(patches(), Fraction(0), Fraction(1, 24))
    assert not (tmp_path / "o.webm").exists()


@pytest.mark.skipif(not hasattr(os, "fork") or shutil.which("sh") is None, reason="needs limits of processes")
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    import resource
    import signal

    before, old = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    noise = np.random.default_rng(0).integers(0, 256, (8, 48, 64, 3), np.uint8)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        target = make_target(tmp_path / "o.mp4", crf=1)
        with pytest.raises(JaxstyleError, match="check the space"), writer(target) as append:
            for i in range(8):
                append(noise[i], Fraction(i, 24), Fraction(1, 24))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)
    assert not list(tmp_path.iterdir())


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(JaxstyleError, match=r"jaxstyle\[video\]"):
        decode.pyav()
