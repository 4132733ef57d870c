#!/usr/bin/env python3
"""soak.py PATH_TO_REELM MINUTES [LOG]: one server, jobs of every kind and hostile requests among them,
for so long. A line every ten seconds: seconds, RSS, descriptors, threads, requests, jobs. Fails when
the server dies, when an honest request fails, or when memory or descriptors have grown at the end.
SOAK_PAUSE in the environment: seconds of rest after each act (0)."""
import glob
import json
import os
import random
import signal
import socket
import sys
import time

from server_rig import PATIENCE, TINY, Server, check, in_threads

MINUTES = float(sys.argv[2])
PAUSE = float(os.environ.get("SOAK_PAUSE", "0"))
LOG = open(sys.argv[3] if len(sys.argv) > 3 else os.devnull, "w", buffering=1)
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = ROOT + "/assets/models/default"
BAD = [open(p, "rb").read() for p in sorted(glob.glob(ROOT + "/tests/bad/media/*"))]
MEDIA = [open(p, "rb").read()[1:] for p in sorted(glob.glob(ROOT + "/tests/fuzz/corpus/media/a.*"))]
MOST_GROWTH = 48 << 20  # bytes of RSS: allocator noise of threads that come and go
dice = random.Random(1)
count = {"requests": 0, "jobs": 0, "hostile": 0}


def small(**more):
    return {**TINY, "seed": dice.randrange(1 << 30), **more}


def job(s, fields, path="/v1/videos"):
    count["jobs"] += 1
    return s.json("POST", path, fields)


# ---- Honest work


def make(s):
    s.wait(job(s, small()), 600)


def make_sound(s):
    s.wait(job(s, small(num_frames=5, generate_sound=True)), 600)


def from_picture(s):
    png = next(m for m in MEDIA if m.startswith(b"\x89PNG"))
    count["jobs"] += 1
    v = s.form("/v1/videos", {"prompt": "a ball", "size": "16x16", "num_frames": "1"}, [("input_reference", "a.png", png)])
    s.wait(v, 600)


def remix_and_fetch(s):
    v = s.wait(job(s, small()), 600)
    if v["status"] == "completed":
        s.content(v)
        s.content(v, "thumbnail")
        s.wait(job(s, {"prompt": "another"}, f"/v1/videos/{v['id']}/remix"), 600)
        s.json("DELETE", "/v1/videos/" + v["id"])


def cancel(s):
    v = job(s, small(num_frames=60, size="64x64"))
    time.sleep(dice.random() * 0.5)
    s.ask("POST", f"/v1/videos/{v['id']}/cancel")
    s.wait(v, 600)


def listen(s):
    v = job(s, small(num_frames=5))
    s.events(v, seconds=600)


def look(s):
    for path in ("/health", "/props", "/metrics", "/v1/videos?limit=5", "/v1/models", "/"):
        status, _, _ = s.ask("GET", path)
        check(status == 200, f"{path}: {status}")


# ---- The others


def damaged_media(s):
    data = bytearray(dice.choice(BAD + MEDIA))
    for _ in range(dice.randrange(8)):
        data[dice.randrange(len(data))] = dice.randrange(256)
    if dice.random() < 0.3:
        del data[dice.randrange(1, len(data)) :]
    field = dice.choice(["input_reference", "mask", "control_depth", "audio_reference"])
    edge = "e"
    body = f'--{edge}\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nx\r\n--{edge}\r\n'
    body += f'Content-Disposition: form-data; name="{field}"; filename="x"\r\n\r\n'
    body = body.encode() + bytes(data) + f"\r\n--{edge}--\r\n".encode()
    status, _, _ = s.ask("POST", "/v1/videos", body, {"Content-Type": f"multipart/form-data; boundary={edge}"})
    check(status in (200, 400, 413, 415, 422, 429), f"damaged media: {status}")


def bad_body(s):
    body = dice.choice(["[" * 5000, '{"prompt":', '{"prompt":"x","seconds":1e308}', "\xff\0" * 99, "{}", '{"a":' * 40])
    status, _, _ = s.ask("POST", "/v1/videos", body.encode("latin-1"), {"Content-Type": "application/json"})
    check(400 <= status < 500, f"bad body: {status}")


def noise(s):
    with socket.create_connection((s.host, s.port), 10) as link:
        link.settimeout(5)
        try:
            link.sendall(bytes(dice.randrange(256) for _ in range(dice.randrange(1, 4000))))
            link.recv(1000)
        except OSError:
            pass


def half_a_request(s):
    with socket.create_connection((s.host, s.port), 10) as link:
        link.sendall(b"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000\r\n\r\n{")


def too_large(s):
    with socket.create_connection((s.host, s.port), 10) as link:
        link.settimeout(10)
        link.sendall(b"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999999\r\n\r\n")
        try:
            check(b" 413 " in link.recv(1000), "a body of 10 GB was not refused")
        except OSError:
            pass


def stranger(s):
    status, _, _ = s.ask("POST", "/v1/videos", b"{}", {"Origin": "https://evil.example"})
    check(status == 403, f"foreign page: {status}")
    status, _, _ = s.ask("GET", "/v1/videos", headers={"Host": "evil.example"})
    check(status == 403, f"foreign name: {status}")


def crowd(s):
    in_threads(12, lambda i: s.ask("GET", "/v1/videos?limit=20", timeout=120))


HONEST = [make, make, make_sound, from_picture, remix_and_fetch, cancel, listen, look]
HOSTILE = [damaged_media, damaged_media, bad_body, noise, half_a_request, too_large, stranger, crowd]


def descriptors(s):
    return len(os.listdir(f"/proc/{s.process.pid}/fd"))


def threads(s):
    return len(os.listdir(f"/proc/{s.process.pid}/task"))


def quiet(s):
    """Nothing runs and nobody is connected: what is left is the server's own."""
    for _ in range(300):
        videos = s.json("GET", "/v1/videos?limit=100")["data"]
        if all(v["status"] in ("completed", "failed") for v in videos):
            break
        time.sleep(1)
    time.sleep(3)
    return descriptors(s), s.resident()


def soak(s):
    begin = time.monotonic()
    end = begin + 60 * MINUTES
    warm, rows, told = None, [], 0
    while time.monotonic() < end:
        act = dice.choice(HOSTILE if dice.random() < 0.6 else HONEST)
        act(s)
        count["requests"] += 1
        count["hostile"] += act in HOSTILE
        now = time.monotonic()
        if warm is None and now > begin + 0.15 * 60 * MINUTES:
            warm = quiet(s)
        if now > told + 10:
            told = now
            row = (round(now - begin), s.resident(), descriptors(s), threads(s), dict(count))
            rows.append(row)
            print(*row[:4], json.dumps(row[4]), file=LOG)
        check(s.process.poll() is None, "the server is gone: " + s.errors()[-500:])
        time.sleep(PAUSE)
    last = quiet(s)
    third = len(rows) // 3  # the largest jobs come at any time; once they were there nothing may be added
    growth = max(r[1] for r in rows[2 * third :]) - max(r[1] for r in rows[third : 2 * third])
    text = (
        f"{MINUTES:g} minutes, {count['requests']} acts ({count['hostile']} hostile), {count['jobs']} jobs; "
        f"RSS {warm[1] >> 20} -> {last[1] >> 20} MiB, most in the last third above the one before: {growth / (1 << 20):.1f} MiB; "
        f"descriptors {warm[0]} -> {last[0]}"
    )
    print(text)
    print(text, file=LOG)
    check(last[0] <= warm[0], "descriptors leak")
    check(last[1] - warm[1] < MOST_GROWTH and growth < MOST_GROWTH / 4, "memory grows")
    s.stop()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    s = Server("--rate-limit", "0", "--queue", "64", "--job-ttl", "30", "--max-upload", "1", "-m", MODEL)
    try:
        soak(s)
    finally:  # however it ends, no server is left behind
        s.kill()
    print("1 passed, 0 failed")


main()
