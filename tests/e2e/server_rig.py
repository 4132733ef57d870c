"""A reelm server on loopback and a plain HTTP client for it; the standard library only."""
import http.client
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time

REELM = os.path.abspath(sys.argv[1])
# Deadlines hold for an idle machine; a busy one gets its share more time.
PATIENCE = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
TINY = {"prompt": "a red ball", "size": "16x16", "num_frames": 1, "generate_sound": False, "seed": 1}
LONG = {"prompt": "a red ball", "size": "128x128", "num_frames": 120, "seed": 1}


class Server:
    def __init__(self, *options, expect_start=True, env=None, file_limit=None):
        self.log = tempfile.TemporaryFile("w+")
        command = [REELM, "serve", "--port", "0", "-t", "1", *options]
        limit = (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))) if file_limit else None
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self.log, text=True, env={**os.environ, **(env or {})},
            preexec_fn=limit,
        )
        self.url = self.process.stdout.readline().strip() if expect_start else ""
        self.host, _, port = self.url.removeprefix("http://").rpartition(":")
        self.port = int(port or 0)
        if expect_start and not self.port:
            raise AssertionError("the server did not start: " + self.errors())

    def errors(self):
        self.log.seek(0)
        return self.log.read()

    def ask(self, method, path, body=None, headers=None, timeout=60):
        """-> (status, headers with small names, bytes)"""
        link = http.client.HTTPConnection(self.host, self.port, timeout=timeout * PATIENCE)
        try:
            link.request(method, path, body, headers or {})
            answer = link.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            link.close()

    def json(self, method, path, fields=None, headers=None, want=200):
        head = dict(headers or {})
        body = None
        if fields is not None:
            head["Content-Type"] = "application/json"
            body = json.dumps(fields)
        status, _, data = self.ask(method, path, body, head)
        check(status == want, f"{method} {path} {str(fields)[:200]}: {status}, expected {want}: {data[:300]}")
        return json.loads(data)

    def form(self, path, fields, files=(), want=200, headers=None):
        """files: (field, file name, bytes)"""
        edge = "edge7d3f"
        parts = []
        for name, value in fields.items():
            parts.append(f'--{edge}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
        for name, filename, data in files:
            parts.append(
                f'--{edge}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
                f"Content-Type: application/octet-stream\r\n\r\n".encode() + data + b"\r\n"
            )
        body = b"".join(parts) + f"--{edge}--\r\n".encode()
        head = {"Content-Type": f"multipart/form-data; boundary={edge}", **(headers or {})}
        status, _, data = self.ask("POST", path, body, head)
        check(status == want, f"POST {path} {fields}: {status}, expected {want}: {data[:300]}")
        return json.loads(data)

    def wait(self, video, seconds=120):
        """Poll until the video has ended; returns its last state."""
        end = time.monotonic() + seconds * PATIENCE
        while time.monotonic() < end:
            video = self.json("GET", "/v1/videos/" + video["id"])
            if video["status"] in ("completed", "failed"):
                return video
            time.sleep(0.1)
        raise AssertionError(f"still {video['status']} after {seconds * PATIENCE:.0f} s: {video}")

    def until(self, video, status, seconds=60):
        end = time.monotonic() + seconds * PATIENCE
        while time.monotonic() < end:
            video = self.json("GET", "/v1/videos/" + video["id"])
            if video["status"] == status:
                return video
            time.sleep(0.05)
        raise AssertionError(f"{video['status']}, expected {status}")

    def make(self, want="completed", **fields):
        video = self.wait(self.json("POST", "/v1/videos", {**TINY, **fields}))
        check(video["status"] == want, f"{fields}: {video}")
        return video

    def content(self, video, variant="video", headers=None, want=200):
        status, head, data = self.ask("GET", f"/v1/videos/{video['id']}/content?variant={variant}", headers=headers)
        check(status == want, f"content {variant}: {status}: {data[:200]}")
        return head, data

    def events(self, video, on_event=None, seconds=120):
        """All events of a video until the stream ends: [(name, data)]"""
        link = http.client.HTTPConnection(self.host, self.port, timeout=seconds * PATIENCE)
        link.request("GET", f"/v1/videos/{video['id']}/events")
        answer = link.getresponse()
        check(answer.status == 200 and answer.getheader("Content-Type") == "text/event-stream", str(answer.status))
        seen, name = [], None
        for line in answer:
            line = line.decode().rstrip("\n")
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                seen.append((name, json.loads(line[6:])))
                if on_event:
                    on_event(*seen[-1])
        link.close()
        return seen

    def stop(self, signal_number=signal.SIGTERM, want=0):
        self.process.send_signal(signal_number)
        code = self.process.wait(30 * PATIENCE)
        check(code == want, f"exit code {code}, expected {want}: {self.errors()[-500:]}")

    def resident(self):
        with open(f"/proc/{self.process.pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def check(good, text):
    if not good:
        raise AssertionError(text)


class shared:
    """One server for the cases that need nothing special."""

    server = None

    @classmethod
    def get(cls):
        if not cls.server or cls.server.process.poll() is not None:
            cls.server = Server("--rate-limit", "0")
        return cls.server


def run(cases):
    """Run the functions whose names contain argv[2]; print the house's count; exit."""
    only = sys.argv[2] if len(sys.argv) > 2 else ""
    passed = failed = 0
    for case in cases:
        if only not in case.__name__:
            continue
        begin = time.monotonic()
        try:
            case()
            passed += 1
            print(f"ok   {case.__name__} {time.monotonic() - begin:.1f} s", flush=True)
        except Exception as error:  # a case that breaks is a case that fails
            failed += 1
            print(f"FAIL {case.__name__}: {type(error).__name__}: {error}", flush=True)
    if shared.server:
        try:
            shared.server.stop()
        except Exception as error:
            failed += 1
            print(f"FAIL the shared server's end: {error}")
        shared.server.kill()
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0 or passed == 0)


def in_threads(count, work):
    """work(i) in `count` threads; re-raises the first failure."""
    errors = []

    def guarded(i):
        try:
            work(i)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]
