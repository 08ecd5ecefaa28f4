"""A headless chromium driven over WebDriver (plain HTTP), for tests of pages."""

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from typing import Any

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
         "--disable-dev-shm-usage", "--hide-scrollbars"]
MISSING = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]


class Page:
    """An open page."""

    def __init__(self, address: str) -> None:
        self.address = address

    def call(self, path: str, data: Any = None) -> Any:
        request = urllib.request.Request(self.address + path, method="GET" if data is None else "POST",
                                         data=None if data is None else json.dumps(data).encode(),
                                         headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]

    def open(self, url: str) -> None:
        self.call("/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """The value that a piece of JavaScript returns."""
        return self.call("/execute/sync", {"script": script, "args": arguments})

    def resize(self, width: int, height: int) -> None:
        """Show the page as on a screen of this size, however narrow."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.call("/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": size})

    def picture(self) -> bytes:
        """A PNG of the whole page."""
        shot = {"cmd": "Page.captureScreenshot", "params": {"captureBeyondViewport": True}}
        return base64.b64decode(self.call("/goog/cdp/execute", shot)["data"])

    def console(self) -> list[dict]:
        """Messages of the console so far."""
        return self.call("/se/log", {"type": "browser"})


@contextmanager
def browser(width: int = 1280, height: int = 900):
    """A page in a browser of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    driver = subprocess.Popen([shutil.which("chromedriver"), f"--port={port}"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    base = f"http://127.0.0.1:{port}"
    options = {"args": [*FLAGS, f"--window-size={width},{height}"]}
    wanted = {"browserName": "chrome", "goog:chromeOptions": options,
              "goog:loggingPrefs": {"browser": "ALL"}}
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(base + "/status", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        start = Page(base).call("/session", {"capabilities": {"alwaysMatch": wanted}})
        page = Page(f"{base}/session/{start['sessionId']}")
        try:
            yield page
        finally:  # else the browser would outlive its driver
            request = urllib.request.Request(page.address, method="DELETE")
            urllib.request.urlopen(request, timeout=30).close()
    finally:
        driver.terminate()
        driver.wait(10)
