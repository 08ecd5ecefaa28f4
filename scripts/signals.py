#!/usr/bin/env python3
"""Sends signals to running commands at random moments, and looks at how they end and what they leave.

    python scripts/signals.py --count 60 --seed 0

INT must end a command with 130 and TERM with 143, within seconds, in words and without a traceback (or the
command was done before: 0); KILL leaves nothing but whole files. After each, the same command goes on from
there and ends well, every fourth time.
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from PIL import Image

from fuzzing.place import Place

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}
SECONDS_TO_END = {"stylize": 8.0, "sweep": 8.0, "tune": 8.0, "train": 60.0}
"""A training finishes its step, measures and saves."""
SECONDS_TO_FINISH = 5.0
"""What a command may take that was about to write its result."""


def commands(place: Path) -> dict[str, list[str]]:
    """Each command that runs for long, with what goes on where it was stopped."""
    pictures = [str(place / "photo.png"), str(place / "painting.png")]
    tiny = ["--weights", str(place / "tiny.safetensors")]
    layers = ["--terms.content.layers", "relu2_1", "--terms.style.layers", "relu1_1,relu2_1",
              "--terms.style.layer_weights", "0.5,0.5"]
    some = [*tiny, "--recipe", "gram", *layers]
    return {
        "stylize": ["stylize", *pictures, *some, "-o", str(place / "out.png"), "--size", "32", "--steps",
                    "4000", "--save-every", "1", "--resume"],
        "sweep": ["sweep", *pictures, *some, "-o", str(place / "run"), "--size", "24", "--steps", "2000",
                  "--seeds", "3", "--save-every", "1"],
        "tune": ["tune", *pictures, *some, "-o", str(place / "search"), "--size", "24", "--steps",
                 "2000", "--candidates", "4", "--save-every", "1"],
        "train": ["train", pictures[1], *tiny, *layers, "--terms.content.layer_weights", "1",
                  "--photos", str(place / "photos"), "-o", str(place / "trained"), "--steps", "600",
                  "--batch", "2", "--crop", "16", "--style-size", "16",
                  "--save-every", "50", "--architecture.width", "2",
                  "--architecture.depth", "1", "--resume"],
    }


def problems(place: Path, ended: subprocess.CompletedProcess[str], number: int, seconds: float, most: float
             ) -> list[str]:
    """What is wrong with how a command ended, so many seconds after the signal; `most`: what it may take."""
    found, over = [], seconds > most
    if ended.returncode == 0 and seconds > SECONDS_TO_FINISH:
        found.append("went on as if nothing had come")
    if ended.returncode not in (CODES[signal.Signals(number)], 0):
        found.append(f"exit code {ended.returncode}")
    if "Traceback" in ended.stderr or "Segmentation" in ended.stderr:
        found.append("a traceback")
    if number != signal.SIGKILL and over:
        found.append("took too long to end")
    if number != signal.SIGKILL and ended.returncode and not ended.stderr.strip():
        found.append("no word")
    for path in place.rglob("*.png"):
        if path.is_file():
            try:
                Image.open(path).load()
            except OSError:
                found.append(f"{path.name} is not whole")
    return found


def wait_until_it_listens(process: subprocess.Popen[str]) -> None:
    """Until the program catches TERM: before, Python itself and the system answer, not we."""
    status, bit = Path(f"/proc/{process.pid}/status"), 1 << (signal.SIGTERM - 1)
    while process.poll() is None:
        caught = re.search(r"^SigCgt:\s*(\w+)$", status.read_text(), re.MULTILINE)
        if caught is not None and int(caught[1], 16) & bit:
            return
        time.sleep(0.005)


def trial(name: str, number: int, delay: float, go_on: bool, home: Path) -> list[str]:
    """Runs a command, sends a signal after some seconds, and says what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), home).folder
        (place / "fifo.png").unlink()
        (place / "socket.png").unlink()
        (place / "photos").mkdir()
        for i in range(20):
            (place / "photos" / f"{i}.png").write_bytes((place / "photo.png").read_bytes())
        call = [sys.executable, "-m", "jaxstyle.cli.main", *commands(place)[name]]
        process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_until_it_listens(process)
        time.sleep(delay)
        began = time.monotonic()
        process.send_signal(number)
        said, errors = process.communicate(timeout=120)
        ended = subprocess.CompletedProcess(call, process.returncode, said, errors)
        found = problems(place, ended, number, time.monotonic() - began, SECONDS_TO_END[name])
        if go_on and process.returncode:
            again = subprocess.run(call, capture_output=True, text=True, timeout=600)
            if again.returncode:
                found.append(f"does not go on: {again.stderr[-300:]!r}")
        return [f"{each}: {errors[-300:]!r}" for each in found]


def main() -> int:
    """Parse, send, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    for number in CODES:  # a shell's background ignores some, and children would inherit that
        if number != signal.SIGKILL:
            signal.signal(number, signal.default_int_handler)
    rng, counts, bad = random.Random(asked.seed), Counter[str](), 0
    home = Path(tempfile.mkdtemp(prefix="jaxstyle-signals-"))
    for i in range(asked.count):
        name = rng.choice(["stylize", "sweep", "tune", "train"])
        number, delay = rng.choice(list(CODES)), rng.uniform(0, 9)
        found = trial(name, number, delay, i % 4 == 0, home)
        counts[f"{name} {signal.Signals(number).name}"] += 1
        bad += bool(found)
        for each in found:
            print(f"{i}: {name}, {signal.Signals(number).name} after {delay:.1f} s: {each}", flush=True)
    print(f"{counts.total()} signals ({dict(sorted(counts.items()))}): {bad} bad")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
