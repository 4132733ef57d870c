"""A headless Chromium driven through chromedriver (W3C WebDriver over plain HTTP, standard library
only), and a server for it to look at."""

import base64
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
# Seconds; a busy machine gets its share more.
PATIENCE = 120 * max(1, os.getloadavg()[0] / (os.cpu_count() or 1))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def request(url, body=None, method=None):
    data = None if body is None else json.dumps(body).encode()
    r = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(r, timeout=PATIENCE) as answer:
        return json.loads(answer.read() or b"null")


def wait(what, ask, seconds=PATIENCE):
    end = time.time() + seconds
    while time.time() < end:
        got = ask()
        if got:
            return got
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {seconds} s")


class Browser:
    def __init__(self, driver, chromium, folder):
        self.folder = folder
        profile = tempfile.mkdtemp(prefix="profile", dir=folder)
        self.port = free_port()
        self.process = subprocess.Popen(
            [driver, f"--port={self.port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        base = f"http://127.0.0.1:{self.port}"
        wait("chromedriver", lambda: self.ready(base))
        options = {
            "binary": chromium,
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     f"--user-data-dir={profile}", "--window-size=1280,900"],
        }
        capabilities = {"alwaysMatch": {"goog:chromeOptions": options,
                                        "goog:loggingPrefs": {"browser": "ALL"}}}
        session = request(base + "/session", {"capabilities": capabilities})["value"]["sessionId"]
        self.url = f"{base}/session/{session}"

    @staticmethod
    def ready(base):
        try:
            return request(base + "/status")["value"]["ready"]
        except (OSError, urllib.error.URLError):
            return False

    def do(self, path, body=None):
        return request(self.url + path, body)["value"]

    def open(self, url):
        self.do("/url", {"url": url})

    def js(self, script, *args):
        return self.do("/execute/sync", {"script": script, "args": list(args)})

    def find(self, css):
        found = self.do("/element", {"using": "css selector", "value": css})
        return f"/element/{found[ELEMENT]}"

    def keys(self, css, text):
        self.do(self.find(css) + "/value", {"text": text})

    def click(self, css):
        self.do(self.find(css) + "/click", {})

    def click_text(self, text):
        ok = self.js(
            "const b = [...document.querySelectorAll('#gallery button')].find((b) => "
            "b.textContent === arguments[0]); if (b) b.click(); return !!b;", text)
        assert ok, f"no button '{text}'"

    def shot(self, folder, name):
        if folder:
            png = request(self.url + "/screenshot")["value"]
            (pathlib.Path(folder) / f"{name}.png").write_bytes(base64.b64decode(png))

    def log(self):
        return self.do("/se/log", {"type": "browser"})

    def close(self):
        try:
            request(self.url, method="DELETE")
        except (OSError, urllib.error.URLError):
            pass
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def healthy(base):
    try:
        return request(base + "/health")["status"] == "ok"
    except (OSError, urllib.error.URLError):
        return False


def programs():
    """chromedriver and chromium; ends as skipped where either is missing"""
    found = shutil.which("chromedriver"), shutil.which("chromium")
    if not all(found):
        print("skipped: chromium and chromedriver are needed (Debian: chromium-driver)")
        sys.exit(77)
    return found


def start(reelm, folder, port, *options):
    process = subprocess.Popen([reelm, "serve", "--port", str(port), "-q", "--state-dir",
                                os.path.join(folder, "state"), *options],
                               stdout=subprocess.DEVNULL)
    wait("the server", lambda: healthy(f"http://127.0.0.1:{port}"))
    return process


def stop(process):
    process.send_signal(signal.SIGTERM)
    process.wait(30)


@contextlib.contextmanager
def server(reelm, *options):
    """-> (address, a folder that goes with it)"""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        process = start(reelm, folder, port, *options)
        try:
            yield f"http://127.0.0.1:{port}", folder
        finally:
            stop(process)
