"""Fetching, from a server on this machine: checked, never twice at once."""

from __future__ import annotations

import hashlib
import http.server
import importlib
import multiprocessing
import re
import socket
import threading
import time

import numpy as np
import pytest

from jaxstyle import backbones
from jaxstyle.backbones import ARCHITECTURES, parameter_shapes
from jaxstyle.backbones.perceptual import CONVENTIONS
from jaxstyle.errors import JaxstyleError
from jaxstyle.weights.fetch import fetch
from jaxstyle.weights.registry import Entry, Published, registry
from jaxstyle.weights.store import load_weights


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`; counts requests; breaks off after `limit` bytes."""

    daemon_threads = True

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.requests, self.limit, self.says_size = files, [], None, True
        self.pause = 0.0

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.requests.append(self.path)
        time.sleep(server.pause)
        content = server.files.get(self.path[1:])
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        if server.says_size:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: server.limit])
        server.limit = None

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def network_file(tmp_path_factory):
    """A SqueezeNet with random numbers as a NumPy archive."""
    rng = np.random.default_rng(0)
    arrays = {}
    for name, shape in parameter_shapes(backbones.build("squeezenet1_1", {})).items():
        arrays[f"{name}/weight"] = rng.standard_normal(shape, np.float32)
        arrays[f"{name}/bias"] = rng.standard_normal(shape[-1], np.float32)
    path = tmp_path_factory.mktemp("source") / "net.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture
def server(network_file):
    with Server({"net.npz": network_file.read_bytes()}) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("jaxstyle.weights.fetch.SCHEMES", ("http",))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "weights"


def digest(path, algorithm="sha256"):
    return f"{algorithm}:{hashlib.new(algorithm, path.read_bytes()).hexdigest()}"


def entries_of(*urls, known):
    files = tuple(Published(url, known, "caffe-104-117-123") for url in urls)
    return {"tiny": Entry("squeezenet1_1", "CC0", "random numbers", files)}


def dead_url():
    """An address at which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/net.npz"


def leftovers(cache):
    return sorted(path.name for path in cache.iterdir() if path.name != ".tiny.lock")


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_fetch_once_then_from_the_cache(server, cache, network_file, algorithm):
    entries = entries_of(server.url("net.npz"), known=digest(network_file, algorithm))
    weights = fetch("tiny", entries=entries)
    assert fetch("tiny", entries=entries).sha256 == weights.sha256
    assert len(server.requests) == 1
    assert load_weights("tiny").sha256 == weights.sha256
    assert leftovers(cache) == ["tiny.safetensors"]
    with np.load(network_file) as archive:
        expected = archive["fire2/expand3x3/weight"]
    np.testing.assert_array_equal(weights.params["fire2/expand3x3"]["kernel"], expected)
    np.testing.assert_array_equal(weights.offset, [-104, -117, -123])


def test_mirrors_are_tried_in_turn_and_once(server, cache, network_file):
    urls = (dead_url(), server.url("gone.npz"), server.url("bad.npz"), server.url("net.npz"))
    server.files["bad.npz"] = b"something else"
    fetch("tiny", entries=entries_of(*urls, known=digest(network_file)))
    assert server.requests == ["/gone.npz", "/bad.npz", "/net.npz"]
    assert leftovers(cache) == ["tiny.safetensors"]


def test_no_network_is_one_quick_line(cache):
    urls = (dead_url(), dead_url())
    began = time.monotonic()
    with pytest.raises(JaxstyleError) as raised:
        fetch("tiny", entries=entries_of(*urls, known="md5:0"))
    assert time.monotonic() - began < 5
    text = str(raised.value)
    assert text.count("no connection") == 2 and "`jaxstyle weights fetch tiny`" in text and "\n" not in text
    assert leftovers(cache) == []


def test_all_mirrors_failing_says_why_each_did(server, cache):
    server.files["bad.npz"] = b"something else"
    entries = entries_of(server.url("gone.npz"), server.url("bad.npz"), known="md5:" + "0" * 32)
    with pytest.raises(JaxstyleError, match=r"answered 404; 127\.0\.0\.1: sent a file with a wrong"):
        fetch("tiny", entries=entries)
    assert leftovers(cache) == []


def test_a_broken_download_leaves_nothing(server, cache, network_file):
    entries = entries_of(server.url("net.npz"), known=digest(network_file))
    server.limit = network_file.stat().st_size // 3
    with pytest.raises(JaxstyleError, match="broke off"):
        fetch("tiny", entries=entries)
    assert leftovers(cache) == []
    fetch("tiny", entries=entries)
    assert leftovers(cache) == ["tiny.safetensors"]


def test_only_encrypted_addresses(server, cache, network_file, monkeypatch):
    monkeypatch.setattr("jaxstyle.weights.fetch.SCHEMES", ("https",))
    with pytest.raises(JaxstyleError, match="is no https address"):
        fetch("tiny", entries=entries_of(server.url("net.npz"), known=digest(network_file)))
    assert server.requests == [] and leftovers(cache) == []


@pytest.mark.parametrize("said", [True, False])
def test_an_endless_file_is_refused(server, cache, network_file, monkeypatch, said):
    """Whether the server says its size or not."""
    monkeypatch.setattr("jaxstyle.weights.fetch.MAX_BYTES", 100_000)
    server.says_size = said
    with pytest.raises(JaxstyleError, match="sends more than"):
        fetch("tiny", entries=entries_of(server.url("net.npz"), known=digest(network_file)))
    assert leftovers(cache) == []


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_damaged_cache_entry_is_fetched_again(server, cache, network_file, damage):
    entries = entries_of(server.url("net.npz"), known=digest(network_file))
    whole = fetch("tiny", entries=entries)
    path = cache / "tiny.safetensors"
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content if damage == "flip" else content[:-5000])
    with pytest.raises(JaxstyleError, match=r"tiny.safetensors: (damaged|not a complete)"):
        load_weights("tiny")
    with pytest.warns(UserWarning, match="fetching tiny again"):
        again = fetch("tiny", entries=entries)
    assert again.sha256 == whole.sha256 and len(server.requests) == 2


def fetch_in_process(entries, results):
    importlib.import_module("jaxstyle.weights.fetch").SCHEMES = ("http",)
    results.put(fetch("tiny", entries=entries).sha256)


def test_two_processes_do_not_clash(server, cache, network_file):
    """The second waits for the first and then finds what it wants in the cache."""
    server.pause = 0.5
    entries = entries_of(server.url("net.npz"), known=digest(network_file))
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    both = [context.Process(target=fetch_in_process, args=(entries, results)) for _ in range(2)]
    for process in both:
        process.start()
    found = {results.get(timeout=120) for _ in both}
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    assert len(found) == 1 and len(server.requests) == 1
    assert leftovers(cache) == ["tiny.safetensors"]


def test_a_cache_that_cannot_be_written_leaves_the_weights_in_memory(
    server, cache, network_file, monkeypatch, tmp_path
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path / "file"))
    entries = entries_of(server.url("net.npz"), known=digest(network_file))
    with pytest.warns(UserWarning, match="cannot be written: tiny stays in memory"):
        weights = fetch("tiny", entries=entries)
    assert weights.params["conv10"]["kernel"].shape == (1, 1, 512, 1000)


def test_a_full_cache_that_cannot_be_written_is_still_read(server, cache, network_file, monkeypatch):
    entries = entries_of(server.url("net.npz"), known=digest(network_file))
    weights = fetch("tiny", entries=entries)
    monkeypatch.setattr("jaxstyle.weights.fetch._writable", lambda folder: False)
    assert fetch("tiny", entries=entries).sha256 == weights.sha256 and len(server.requests) == 1


def test_the_proxy_of_the_environment_is_asked(server, cache, network_file, monkeypatch):
    """To a proxy the whole address is sent as the path."""
    server.files["ttp://weights.invalid/net.npz"] = network_file.read_bytes()
    monkeypatch.setenv("http_proxy", server.url(""))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    fetch("tiny", entries=entries_of("http://weights.invalid/net.npz", known=digest(network_file)))
    assert server.requests == ["http://weights.invalid/net.npz"]


def test_an_unknown_checksum_is_recorded_and_then_insisted_on(server, cache, network_file):
    entries = entries_of(server.url("net.npz"), known="")
    with pytest.warns(UserWarning, match="no checksum is known"):
        fetch("tiny", entries=entries)
    (cache / "tiny.safetensors").unlink()
    fetch("tiny", entries=entries)
    (cache / "tiny.safetensors").unlink()
    server.files["net.npz"] = server.files["net.npz"] + b"\0"
    with pytest.raises(JaxstyleError, match="wrong checksum"):
        fetch("tiny", entries=entries)


def test_a_file_for_the_offline(cache, network_file, tmp_path):
    entries = entries_of(dead_url(), known=digest(network_file))
    weights = fetch("tiny", file=network_file, entries=entries)
    assert load_weights("tiny").sha256 == weights.sha256
    other = tmp_path / "other.npz"
    other.write_bytes(b"PK")
    with pytest.raises(JaxstyleError, match=r"other.npz: not one of .* expected sha256:\w+, found"):
        fetch("tiny", file=other, entries=entries)
    with pytest.raises(JaxstyleError, match=r"absent\.npz: no such file"):
        fetch("tiny", file=tmp_path / "absent.npz", entries=entries)


def test_unknown_names_list_the_known_ones(cache):
    with pytest.raises(JaxstyleError, match="no weights called 'vgg18' to fetch; there are vgg19, "):
        fetch("vgg18")
    with pytest.raises(JaxstyleError) as raised:
        load_weights("vgg19")
    for remedy in ("weights fetch vgg19", "weights port FILE", "bundled network, vgg19-slim"):
        assert remedy in str(raised.value)


def test_the_registry_is_complete_and_well_formed():
    known = registry()
    assert {"vgg19", "vgg16", "alexnet", "resnet50", "squeezenet"} <= known.keys()
    for name, entry in known.items():
        assert entry.architecture in ARCHITECTURES, name
        assert entry.licence and entry.origin and entry.files, name
        for file in entry.files:
            algorithm, _, value = file.hash.partition(":")
            length = {"md5": 32, "sha256": 64}[algorithm]
            assert re.fullmatch(rf"[0-9a-f]{{{length}}}", value), name
            assert file.convention in CONVENTIONS
            if (prefix := re.search(r"-([0-9a-f]{8})\.pth$", file.url)) and algorithm == "sha256":
                assert value.startswith(prefix[1]), name
