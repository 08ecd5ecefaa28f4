"""The live page: what it serves and to whom, and in a browser."""

from __future__ import annotations

import io
import json
import re
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from browser import MISSING, browser
from PIL import Image

from jaxstyle.cli.console.local import jpeg
from jaxstyle.cli.console.preview import View, preview
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import save

PHOTO = np.random.default_rng(0).random((40, 60, 3)).astype(np.float32)
BEGUN = View(title="photo.jpg", steps=10, references={"photo": PHOTO, "painting": PHOTO[::-1]})


def ask(live, path, data=None, **headers):
    request = urllib.request.Request(live.address + path, data=data, headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read(), answer.headers


def refused(live, path, data=None, **headers) -> int:
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(live, path, data, **headers)
    caught.value.close()
    return caught.value.code


@pytest.fixture
def live():
    with preview(0, BEGUN) as live:
        yield live
        live.watched = False


def test_the_page_needs_nothing_else(live):
    page, headers = ask(live, "/")
    assert "text/html" in headers["Content-Type"]
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert not re.search(rb"https?://|@import|<link", page)


def test_what_the_page_is_told(live):
    live.update(4, {"total": 2.5, "style": float("nan")}, {"picture": PHOTO}, left=12.0)
    live.update(5, {"total": 2.0}, {"picture": PHOTO[::-1]})
    live.update(5, {}, live.view.pictures)
    view = json.loads(ask(live, "/view.json")[0])
    assert (view["step"], view["steps"], view["status"], view["left"]) == (5, 10, "running", 12.0)
    assert view["losses"] == {} and view["curve"] == [2.5, 2.0]
    assert view["versions"] == {"picture": 2}  # the third was the same
    assert view["pictures"] == ["picture"] and view["references"] == ["photo", "painting"]


def test_a_file_is_shown_again_when_it_is_another(live, tmp_path):
    for name in ("a.png", "b.png"):
        save(tmp_path / name, PHOTO)
    for step, name in enumerate(("a.png", "a.png", "b.png")):
        live.update(step, {}, {"lane": tmp_path / name})
    assert live.view.versions == {"lane": 2}
    assert Image.open(io.BytesIO(ask(live, "/picture/lane")[0])).size == (60, 40)


def test_pictures_are_served_small(live):
    live.update(1, {}, {"a picture": np.zeros((3000, 1500, 3))})
    body, headers = ask(live, "/picture/a%20picture?1")
    assert headers["Content-Type"] == "image/jpeg" and Image.open(io.BytesIO(body)).size == (512, 1024)
    assert Image.open(io.BytesIO(ask(live, "/picture/photo")[0])).size == (60, 40)
    assert jpeg(np.full((4, 4, 3), np.nan))


@pytest.mark.parametrize("path", ["/picture/other", "/../etc/passwd", "/preview.html", "/picture/", "/stop"])
def test_nothing_else_is_there(live, path):
    assert refused(live, path) == 404


def test_foreign_pages_can_neither_read_nor_stop(live):
    assert refused(live, "/view.json", Host="evil.example") == 403
    assert refused(live, "/", Host=f"evil.example:{live.port}") == 403
    assert refused(live, "/stop", data=b"") == 403
    assert refused(live, "/stop", data=b"", **{"X-Jaxstyle": "guess"}) == 403
    assert not live.stop.is_set()


def test_the_button_stops(live):
    token = re.search(rb'token = "([^"]+)"', ask(live, "/")[0])[1].decode()
    ask(live, "/stop", data=b"", **{"X-Jaxstyle": token})
    assert live.stop.is_set()
    assert json.loads(ask(live, "/view.json")[0])["status"] == "stopping"


def test_only_this_machine_is_served(live):
    assert live.address.startswith("http://127.0.0.1:")
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://127.0.0.2:{live.port}/", timeout=2)


@pytest.mark.parametrize("port", [-1, 65536, 99999])
def test_ports_out_of_range(port):
    with pytest.raises(JaxstyleError, match="65535"), preview(port, BEGUN):
        pass


def test_a_taken_port(live):
    with pytest.raises(JaxstyleError, match="use another port"), preview(live.port, BEGUN):
        pass


def test_the_server_ends_with_the_block():
    with preview(0, BEGUN) as live:
        ask(live, "/")
    with pytest.raises(OSError):
        ask(live, "/")
    assert live.view.status == "stopped"


@pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}")
def test_the_page_in_a_browser(live):
    live.update(3, {"total": 3.0, "content": 1.0}, {"picture": PHOTO})
    with browser() as page:
        page.open(live.address)
        for _ in range(50):
            if page.run("return [...document.images].filter(i => i.naturalWidth).length === 3"):
                break
            time.sleep(0.1)
        assert "step 3 of 10" in page.run("return document.getElementById('state').textContent")
        live.update(4, {"total": 2.0, "content": 1.0}, {"picture": PHOTO[::-1]})
        time.sleep(1.5)
        assert "step 4 of 10" in page.run("return document.getElementById('state').textContent")
        assert page.run("return document.images.length") == 3
        page.run("document.getElementById('stop').click()")
        assert live.stop.wait(10)
        live.end("stopped")
        time.sleep(1.5)
        assert "stopped" in page.run("return document.getElementById('state').textContent")
        assert [m for m in page.console() if m["level"] == "SEVERE" and "favicon" not in m["message"]] == []
