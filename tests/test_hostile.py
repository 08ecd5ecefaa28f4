"""Hostile and broken input: whatever is given, a command ends with one clear line and changes nothing."""

from __future__ import annotations

import copy
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import warnings
import zipfile
from importlib import import_module
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from tiny import tiny_recipe, tiny_weights, write_inputs

from jaxstyle.atomic import write_whole
from jaxstyle.cli.console.interrupts import heeded, noting_signals
from jaxstyle.cli.console.terminal import Terminal
from jaxstyle.cli.main import main
from jaxstyle.errors import JaxstyleError, printable
from jaxstyle.images.files import load, save
from jaxstyle.pytrees import to_json
from jaxstyle.reading import MAX_DEPTH, checked, open_regular, parsed
from jaxstyle.runs.manifest import TEXT_KEY, Files, manifest, name_from
from jaxstyle.runs.replay import read_manifest, recipe_from_json
from jaxstyle.runs.schema import Manifest
from jaxstyle.weights.formats.source import read_source
from jaxstyle.weights.store import read_weights, write_weights
from jaxstyle.weights.verify import verify

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from fuzz import KINDS, fuzz

DATA = Path(__file__).parent / "data" / "version-1"
FOREIGN = ["a [/2024] b", "new\nline", "esc\x1b[31m", "bell\a", "turned\u202e", "broken\udcff", "tab\t",
           "nul\x00"]


@pytest.mark.parametrize("text", FOREIGN)
def test_foreign_text_is_one_line_without_escapes_or_markup(text, capsys):
    assert printable(text).isprintable()
    assert str(JaxstyleError(f"{text}: no")).isprintable()
    Terminal(stderr=True).print(f"{text} [bold]x[/] end")
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "[bold]x[/] end" in said and "\x1b[31m" not in said


def test_no_command_prints_markup():
    """Strings are printed as they are, so markup in one would be shown."""
    for path in Path("jaxstyle/cli").resolve().glob("*.py"):
        assert "[/]" not in path.read_text(), path


@pytest.fixture
def special(tmp_path):
    """A pipe, a socket, a device and a folder."""
    os.mkfifo(tmp_path / "fifo.safetensors")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket.safetensors"))
    (tmp_path / "folder.safetensors").mkdir()
    yield [tmp_path / f"{name}.safetensors" for name in ("fifo", "socket", "folder")] + [Path("/dev/zero")]
    listener.close()


def test_only_regular_files_are_opened(special, tmp_path):
    for path in special:
        for use in (open_regular, lambda p: read_weights(p, "x"), read_source, load, read_manifest):
            with pytest.raises(JaxstyleError, match=r"regular file|folder"):
                use(path)
    with pytest.raises(JaxstyleError, match="cannot be read"):
        open_regular("a\x00b")
    with pytest.raises(JaxstyleError, match="no such file"):
        open_regular(tmp_path / "missing")


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A manifest and the recipe in it."""
    folder = tmp_path_factory.mktemp("inputs")
    made = write_inputs(folder)
    weights = read_weights(Path(made["weights"]), made["weights"])
    files = Files(content=made["photo"], styles=(made["painting"],))
    return json.loads(json.dumps(manifest(tiny_recipe(), files, weights, beside=folder)))


def test_every_field_of_a_manifest_is_checked_and_named(record, tmp_path):
    def refused(change, words):
        data = copy.deepcopy(record)
        change(data)
        save(tmp_path / "p.png", np.zeros((2, 2, 3), np.float32), text={TEXT_KEY: json.dumps(data)})
        with pytest.raises(JaxstyleError, match=words):
            read_manifest(tmp_path / "p.png")

    refused(lambda d: d.pop("references"), "references")
    refused(lambda d: d["references"]["styles"].append(3), r"references\.styles\[1\]")
    refused(lambda d: d["references"]["content"].update(sha256="x"), r"references\.content\.sha256")
    refused(lambda d: d["references"]["content"].update(path="a\x00b"), r"references\.content\.path")
    refused(lambda d: d.update(format="jaxstyle-run-9"), "format")
    refused(lambda d: d["recipe"].pop("terms"), "terms: is missing")
    refused(lambda d: d["recipe"]["terms"]["style"].update(weight="much"), r"terms\.style\.weight")
    refused(lambda d: d["recipe"]["terms"]["style"].update(layers=7), r"terms\.style\.layers")
    refused(lambda d: d["recipe"]["terms"].update(style=3), r"terms\.style")
    refused(lambda d: d["recipe"]["solver"].update(history=None), r"solver\.history")
    refused(lambda d: d["recipe"]["stages"][0].update(size=10**30), r"stages\.0\.size")
    refused(lambda d: d["recipe"].update(seed=2**40), "seed")
    refused(lambda d: d["recipe"].update(solver=d["recipe"]["start"]), "solver: is not one of")
    refused(lambda d: d["recipe"].update(type=["Recipe"]), "recipe")


def test_depth_and_damage_of_json_are_bounded():
    deep = "[" * 100_000 + "]" * 100_000
    for text in (deep, '{"a":' * 500 + "1" + "}" * 500, json.dumps(nested(MAX_DEPTH + 2))):
        with pytest.raises(JaxstyleError, match="nested"):
            parsed(text, dict, "x")
    for text in ("{", "", b"\xff\xfe", "1" * 5000):
        with pytest.raises(JaxstyleError):
            parsed(text, dict, "x")
    assert checked({"a": 1}, dict[str, int], "x") == {"a": 1}


def nested(depth: int) -> list:
    node: list = []
    for _ in range(depth):
        node = [node]
    return node


def test_recipes_survive_the_check(record):
    assert recipe_from_json(record["recipe"]) == recipe_from_json(to_json(recipe_from_json(record["recipe"])))
    assert checked(record, Manifest, "x")["format"] == "jaxstyle-run-2"


def rewritten(path: Path, change) -> Path:
    """A weights file with another header and, if `change` gives them, other numbers."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8:8 + length]), data[8 + length:]
    body = change(header, body) or body
    text = json.dumps(header).encode()
    target = path.with_name("changed.safetensors")
    target.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return target


@pytest.fixture
def tiny_file(tmp_path):
    write_weights(tmp_path / "tiny.safetensors", tiny_weights(), "vgg19")
    return tmp_path / "tiny.safetensors"


def test_reading_and_verifying_refuse_the_same_weights(tiny_file):
    def config(header, **changes):
        about = header["__metadata__"]
        about["config"] = json.dumps({**json.loads(about["config"]), **changes})

    def renamed(header, old, new):
        header[new] = header.pop(old)

    changes = {
        "is missing": lambda h, b: renamed(h, "conv1_1/bias", "conv1_1/bias\x00"),
        "no tensor of this network|not a complete": lambda h, b: h.update(extra={**h["conv1_1/bias"]}),
        "expected the shape": lambda h, b: h["preprocess/kernel"].update(shape=[9]),
        "config": lambda h, b: h["__metadata__"].update(config="[1]"),
        "blocks": lambda h, b: config(h, blocks=7),
        "channels": lambda h, b: config(h, blocks=[[10**6], [1]]),
        "has no 'nonsense'": lambda h, b: config(h, nonsense=1),
        "no layer 'relu9_9'": lambda h, b: config(h, last="relu9_9"),
        "architecture": lambda h, b: h["__metadata__"].update(architecture="vgg99"),
        "finite|damaged": lambda h, b: b"\xff" * len(b),
        "type F8_E4M3|not a complete": lambda h, b: h["preprocess/bias"].update(dtype="F8_E4M3"),
    }
    for words, change in changes.items():
        path = rewritten(tiny_file, change)
        for use in (lambda p: read_weights(p, "x"), lambda p: verify(str(p))):
            with pytest.raises(JaxstyleError, match=words) as raised:
                use(path)
            assert str(path.name) in str(raised.value)


def test_bfloat16_weights_work(tiny_file):
    import ml_dtypes
    from safetensors.numpy import load_file

    tensors = load_file(tiny_file)
    length = struct.unpack("<Q", tiny_file.read_bytes()[:8])[0]
    header = json.loads(tiny_file.read_bytes()[8:8 + length])
    body, entries = b"", {"__metadata__": {k: v for k, v in header["__metadata__"].items()
                                           if k != "content_sha256"}}
    for name, tensor in tensors.items():
        data = tensor.astype(ml_dtypes.bfloat16).tobytes()
        entries[name] = {"dtype": "BF16", "shape": list(tensor.shape),
                         "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(entries).encode()
    path = tiny_file.with_name("half.safetensors")
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    found = read_weights(path, "half").params["conv1_1"]["kernel"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, tiny_weights().params["conv1_1"]["kernel"], rtol=0.01)


def test_archives_are_not_unpacked_beyond_a_network(tmp_path):
    """400 MB of zeros in a file of some kilobytes; what is read of it stays small."""
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive, \
            archive.open("conv1_1/weight.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False,
                                                    "shape": (10000, 10000)})
        for _ in range(400):
            file.write(bytes(2**20))
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("block1_conv1/kernel:0", shape=(100_000, 100_000), dtype="f4",
                            chunks=(1000, 1000), compression="gzip")
    for name in ("bomb.npz", "bomb.h5"):
        began = time.monotonic()
        with pytest.raises(JaxstyleError, match="without any layer"):
            read_source(tmp_path / name)
        assert time.monotonic() - began < 20


def test_variables_of_matlab_are_measured_before_they_are_unpacked(tmp_path, monkeypatch):
    scipy.io.savemat(tmp_path / "bomb.mat", {"layers": np.zeros((400, 400))}, do_compression=True)
    assert (tmp_path / "bomb.mat").stat().st_size < 4000
    with pytest.raises(JaxstyleError, match="a matconvnet file without any layer"):
        read_source(tmp_path / "bomb.mat")  # small enough to look at, and no network
    monkeypatch.setattr("jaxstyle.weights.formats.matconvnet.MOST_BYTES", 100_000)
    monkeypatch.setattr("scipy.io.loadmat", None)
    with pytest.raises(JaxstyleError, match="unpacks to more than any network here"):
        read_source(tmp_path / "bomb.mat")


def test_a_file_that_appeared_meanwhile_is_not_replaced(tmp_path, monkeypatch):
    def one(content):
        try:
            write_whole(tmp_path / "a", content, overwrite=False)
            return content
        except JaxstyleError:
            return None

    for links in (True, False):
        if not links:
            monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
        (tmp_path / "a").unlink(missing_ok=True)
        written: list = []
        threads = [threading.Thread(target=lambda i=i, to=written: to.append(one(b"%d" % i)))
                   for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        won = [content for content in written if content is not None]
        assert len(won) == 1 and (tmp_path / "a").read_bytes() == won[0]
        assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_manifests_name_inputs_as_seen_from_the_result(tmp_path):
    (tmp_path / "run" / "lanes").mkdir(parents=True)
    assert name_from(str(tmp_path / "run" / "x.png"), tmp_path / "run") == "x.png"
    assert name_from(str(tmp_path / "x.png"), tmp_path / "run" / "lanes") == "../../x.png"
    assert name_from("/etc/hostname", tmp_path / "run") == "hostname"


@pytest.mark.skipif(not DATA.is_dir(), reason="the picture of the version before is not here")
def test_a_picture_of_the_version_before_replays(tmp_path, monkeypatch, compiled_programs):
    """Its manifest names files by whole paths on another machine; they lie beside it now."""
    monkeypatch.setenv("JAXSTYLE_CACHE", str(compiled_programs))
    assert read_manifest(DATA / "made.png")["format"] == "jaxstyle-run-1"
    assert main(["replay", str(DATA / "made.png"), "-o", str(tmp_path / "again.png")]) == 0
    assert np.abs(load(tmp_path / "again.png") - load(DATA / "made.png")).mean() < 0.02


def test_what_is_missing_is_listed(record, tmp_path, capsys):
    save(tmp_path / "p.png", np.zeros((2, 2, 3), np.float32), text={TEXT_KEY: json.dumps(record)})
    assert main(["replay", str(tmp_path / "p.png")]) == 2
    said = capsys.readouterr().err
    assert "photo.png (content), painting.png (styles)" in said and "(--content, --style)" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(("words", "said"), [
    (["stylize", "a", "b", "--sizee", "3"], "did you mean --size?"),
    (["stylize", "a", "b", "--stle-weight", "3"], "did you mean --style-weight?"),
    (["stylize", "a", "b", "--presicion", "bfloat16"], "did you mean --precision?"),
    (["stylize", "a", "b", "--terms.stile.weight", "3"], "did you mean 'style'?"),
    (["stylize", "a", "b", "--size", "0"], "size takes at least 1"),
    (["stylize", "a", "b", "--size", "99999999999999999999"], "size takes"),
    (["stylize", "a", "b", "--seed", "99999999999999999999"], "too large"),
    (["sweep", "a", "b", "-o", "c", "--seeds", "1000000000"], "--seeds takes"),
    (["tune", "a", "b", "-o", "c", "--seed", "-1"], "--seed takes"),
    (["stylize"], "PHOTO is missing"), (["swep"], "did you mean sweep?"),
])
def test_mistakes_are_one_line_with_the_remedy(words, said, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_is_printed_as_options_that_can_be_pasted(capsys):
    import shlex

    from jaxstyle.cli.running.arguments import split_overrides
    from jaxstyle.transfer import presets
    from jaxstyle.transfer.settings import override

    for name in presets.catalogue():
        assert main(["recipes", name]) == 0
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("--")]
        assert lines[0].startswith("--solver ")
        words = [word for line in lines for word in shlex.split(line, comments=True)]
        rest, settings = split_overrides(words)
        assert rest[:1] in ([], ["--seed"])
        assert override(presets.named(name), settings) == presets.named(name)


def test_a_huge_size_is_refused_before_anything_is_read(tmp_path, capsys):
    made = write_inputs(tmp_path)
    began = time.monotonic()
    assert main(["stylize", made["photo"], made["painting"], "-o", str(tmp_path / "o.png"), "--weights",
                 made["weights"], "--size", "60000", "--max-memory", "4GB"]) == 2
    assert "smaller size" in capsys.readouterr().err and time.monotonic() - began < 10


def test_a_slice_of_the_fuzzer_finds_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counts, failures = fuzz(cases=8 * len(KINDS), seconds=40, seed=1)
    assert failures == [] and counts.total() >= len(KINDS)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_busy_program_within_seconds(number, code):
    """The main thread is inside one long instruction, as in a compiler, and does not hear of signals."""
    program = ("import hashlib\n"
               "from jaxstyle.cli.console.interrupts import heeded, last_words\n"
               "with heeded(deadline=True), last_words(lambda: print('last words', flush=True)):\n"
               "    print('busy', flush=True)\n"
               "    hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)\n")
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "busy\n"
    time.sleep(0.5)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == code and said == "last words\n"


def test_one_signal_that_comes_twice_leaves_time_to_save():
    """As from timeout(1); a second one later ends the program at once."""
    with heeded() as interrupted, noting_signals(60) as noted:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert noted is interrupted and noted.code == 143 and noted.grace == 60
        time.sleep(0.6)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


def test_a_program_may_take_the_time_it_asked_for():
    program = ("import hashlib\n"
               "from jaxstyle.cli.console.interrupts import heeded, noting_signals\n"
               "with heeded(deadline=True), noting_signals(60) as noted:\n"
               "    print('busy', flush=True)\n"
               "    while not noted:\n"
               "        pass\n"
               "    hashlib.pbkdf2_hmac('sha256', b'', b'', 6 * 10**6)\n"
               "    print('saved', flush=True)\n"
               "raise SystemExit(noted.code)\n")
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "busy\n"
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert said == "saved\n" and process.returncode == 130


def test_an_import_that_a_signal_cuts_short_is_an_interruption(monkeypatch, capsys):
    """An extension module says so with an ImportError of its own."""
    def run(name, arguments):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("error while initializing the extension") from None

    monkeypatch.setattr("jaxstyle.cli.main.run", run)
    assert main(["stylize"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_signal_during_imports_waits_for_their_end(monkeypatch, capsys):
    """Libraries that are cut short while they are imported print tracebacks."""
    whole = []

    def load_slowly(name):
        signal.raise_signal(signal.SIGTERM)
        whole.append(name)
        return import_module(name)

    monkeypatch.setattr("jaxstyle.cli.main.import_module", load_slowly)
    assert main(["recipes"]) == 143
    assert whole == ["jaxstyle.cli.recipes"] and "nothing was written" in capsys.readouterr().err


class Deaf:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def test_a_signal_where_exceptions_are_forgotten_is_heard_later():
    """Python drops what is raised in a destructor, as in JAX's callback of the garbage collector."""
    with heeded() as interrupted, pytest.raises(KeyboardInterrupt):
        thing = Deaf()
        del thing
        assert not interrupted  # not yet
        time.sleep(10)
    assert interrupted.code == 130
