"""Sweeps and trainings on the live page: their pictures as they grow, and the button."""

import io
import json
import re
import socket
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fast_tiny import picture, write_photos
from PIL import Image
from tiny import fast_to_compile, tiny_weights

from jaxstyle.cli.console.preview import Live, View
from jaxstyle.cli.main import main
from jaxstyle.cli.running.live import sweep_on_page
from jaxstyle.fast.model import read_model
from jaxstyle.images.files import save
from jaxstyle.report.data import read_sweep
from jaxstyle.sweeps.batches import Progress
from jaxstyle.sweeps.folder import IMAGE
from jaxstyle.weights.store import write_weights

LAYERS = ("--terms.content.layers", "relu2_1", "--terms.style.layers", "relu1_1,relu2_1",
          "--terms.style.layer_weights", "0.5,0.5")


@pytest.fixture(scope="module", autouse=True)
def quick():
    with fast_to_compile():
        yield


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_weights(Path("tiny.safetensors"), tiny_weights(), "vgg19")
    for i, name in enumerate(("photo.png", "painting.png")):
        save(name, picture(i))
    return tmp_path


@dataclass
class Watcher(threading.Thread):
    """Somebody who looks at the page until there is a picture of each name, then presses the button."""

    port: int
    names: tuple[str, ...]
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    view: dict = field(default_factory=dict)

    def __post_init__(self):
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def ask(self, path, data=None, **headers):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def run(self):
        end = time.monotonic() + 120
        while time.monotonic() < end and not set(self.names) <= set(self.view.get("pictures", ())):
            try:
                self.view = json.loads(self.ask("/view.json"))
            except OSError:  # not open yet
                time.sleep(0.05)
        for name in (*self.view["references"], *self.names):
            body = self.ask("/picture/" + urllib.request.quote(name, safe=""))
            self.sizes[name] = Image.open(io.BytesIO(body)).size
        token = re.search(rb'token = "([^"]+)"', self.ask("/"))[1].decode()
        self.ask("/stop", data=b"", **{"X-Jaxstyle": token})


def run_watched(arguments, names):
    """The exit code of a command, and what somebody saw who looked."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    watcher = Watcher(port, names)
    watcher.start()
    code = main([*arguments, "--preview", str(port)])
    watcher.join(timeout=120)
    assert not watcher.is_alive()
    return code, watcher


def train(*options):
    return ["train", "painting.png", "--photos", "photos", "--weights", "tiny.safetensors", *LAYERS,
            "--terms.content.layer_weights", "1", "--batch", "2", "--crop", "16", "--style-size", "16",
            "--architecture.width", "2", "--architecture.depth", "1", "--steps", "4000", *options]


def test_a_sweep_is_watched_and_stopped(place):
    command = ["sweep", "photo.png", "painting.png", "--weights", "tiny.safetensors", "--recipe", "gram",
               *LAYERS, "--vary", "terms.style.weight=1,4", "--size", "24", "--steps", "4000", "-o", "run"]
    names = "0: style.weight 1", "1: style.weight 4"
    code, seen = run_watched(command, names)
    assert code == 130
    assert seen.view["steps"] == 8000 and seen.view["losses"].keys() == {"total", "greatest"}
    assert {*seen.sizes} == {"photo photo.png", "painting painting.png", *names}
    assert all(max(seen.sizes[name]) <= 24 for name in names)
    assert [lane.status for lane in read_sweep(place / "run").lanes] == ["running", "running"]


def test_a_training_is_watched_stopped_and_saved(place):
    write_photos(place / "photos")
    code, seen = run_watched(train("-o", "model", "--sample-every", "10"), ("held-out photos",))
    assert code == 130
    assert {*seen.sizes} == {"painting painting.png", "held-out photos"} and "total" in seen.view["losses"]
    assert 10 <= read_model(place / "model").card.steps < 4000


def test_lanes_of_trainings_show_what_each_makes(place):
    write_photos(place / "photos")
    code, seen = run_watched(train("-o", "runs", "--sample-every", "10", "--vary", "terms.style.weight=1,4"),
                             ("0: style.weight 1", "1: style.weight 4"))
    assert code == 130 and len(seen.sizes) == 3


def test_a_search_is_watched_and_stopped(place):
    command = ["tune", "photo.png", "painting.png", "--weights", "tiny.safetensors", "--recipe", "gram",
               *LAYERS, "--candidates", "2", "--size", "24", "--steps", "4000", "-o", "search"]
    first = "0: strength 0.10, layer weights as they are, tv.weight 1"
    code, seen = run_watched(command, (first,))
    assert code == 130 and {*seen.sizes} == {"photo photo.png", "painting painting.png", first}


def test_one_page_is_for_one_process(place, capsys):
    assert main(["sweep", "photo.png", "painting.png", "-o", "run", "--distributed", "--preview", "0"]) == 2
    assert "leave it out with --distributed" in capsys.readouterr().err


def test_what_the_page_is_told_of_lanes(tmp_path):
    """A lane of an earlier batch is shown from its file; one that is not finite counts in no loss."""
    def at(index, values):
        run = SimpleNamespace(index=index, lane=SimpleNamespace(labels={}), folder=tmp_path / str(index))
        search = SimpleNamespace(best=SimpleNamespace(value=np.array(values)))
        snapshot = SimpleNamespace(search=search, stage=0)
        return Progress(done=index, total=4, finished=0, runs=(run,), snapshot=snapshot, group=0, groups=1)

    live = Live(View())
    steps = sweep_on_page([at(0, [np.nan]), at(1, [2.0])], live)
    next(steps)
    next(steps)
    assert live.view.losses == {} and list(live.view.pictures) == ["0"]
    (tmp_path / "0").mkdir()
    save(tmp_path / "0" / IMAGE, picture(0))
    assert list(steps) == [] and live.view.status == "finished"
    assert live.view.pictures["0"] == tmp_path / "0" / IMAGE and live.view.losses == {"total": 2.0}
