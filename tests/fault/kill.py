#!/usr/bin/env python3
"""kill.py PATH_TO_REELM [POINTS [KIND]]: kill -9 at random moments (POINTS of each kind, default 2) of
training, tokenising a dataset, writing a token file and serving. What is left loads, and going on gives
bit for bit what an undisturbed run gives. Nothing else is left behind: files that are being written have
no name, where the file system knows such files."""
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

REELM = os.path.abspath(sys.argv[1])
POINTS = int(sys.argv[2]) if len(sys.argv) > 2 else 2
ONLY = sys.argv[3] if len(sys.argv) > 3 else ""
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = ROOT + "/assets/models/default"
dice = random.Random(7)
os.environ["REELM_MODEL"] = MODEL
sys.argv[1] = REELM
sys.path.insert(0, ROOT + "/tests/e2e")
import server_rig  # noqa: E402


def sha(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def nameless_files(path):
    try:
        os.close(os.open(path, os.O_TMPFILE | os.O_WRONLY, 0o600))
    except OSError:
        return False
    return True


def folder(path):
    """name -> sha256 of every file below."""
    found = {}
    for base, _, names in os.walk(path):
        for name in names:
            full = os.path.join(base, name)
            if ".tmp." not in name:
                found[os.path.relpath(full, path)] = sha(full)
    return found


def check_nothing_torn(path):
    torn = [name for _, _, names in os.walk(path) for name in names if ".tmp." in name]
    assert not torn or not nameless_files(path), f"left behind: {torn}"


def run(*command):
    done = subprocess.run([REELM, *command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.returncode} {done.stderr[-500:]}"


def killed(seconds, *command):
    """Start and kill after so long; True when it was still running."""
    p = subprocess.Popen([REELM, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        p.wait(seconds)
    except subprocess.TimeoutExpired:
        p.kill()
    error = p.stderr.read().decode()
    code = p.wait()
    assert code in (0, -signal.SIGKILL), f"{command}: {code} {error[-500:]}"
    return code != 0


def world(path, clips):
    run("world", "-o", path, "--count", str(clips), "--seed", "3", "--size", "144x144", "--frames", "9", "-q")


def span(*command):
    """Seconds that a whole run takes now: kills are spread over it."""
    begin = time.monotonic()
    run(*command)
    return time.monotonic() - begin


def training():
    with tempfile.TemporaryDirectory() as d:
        world(d + "/data", 3)
        config = ROOT + "/assets/configs/audio-tiny.json"
        common = ["--config", config, "--data", d + "/data", "--seed", "1", "-q", "--deterministic", "-t", "1"]
        common += ["--steps", "16", "--checkpoint-every", "1"]
        seconds = span("train", "audio", *common, "--out", d + "/whole")
        want = folder(d + "/whole/model"), sha(d + "/whole/checkpoints/step_0000016.safetensors")
        kills = runs = 0
        while kills < POINTS:
            out = f"{d}/run{runs}"
            runs += 1
            for _ in range(6):
                resume = ["--resume"] if os.path.exists(out + "/latest") else []
                if not killed(dice.random() * seconds, "train", "audio", *common, "--out", out, *resume):
                    break
                kills += 1
                if kills >= POINTS:
                    break
            resume = ["--resume"] if os.path.exists(out + "/latest") else []
            run("train", "audio", *common, "--out", out, *resume)
            got = folder(out + "/model"), sha(out + "/checkpoints/step_0000016.safetensors")
            assert got == want, f"run {runs} differs after kills: {got} {want}"
            check_nothing_torn(out)
        return kills


def tokenising():
    with tempfile.TemporaryDirectory() as d:
        world(d + "/data", 6)
        config = ROOT + "/assets/configs/lm-tiny.json"
        common = ["--config", config, "--data", d + "/data", "--seed", "1", "-q", "--deterministic", "-t", "1"]
        common += ["--steps", "1", "-m", MODEL]
        seconds = span("train", "lm", *common, "--out", d + "/whole")
        want = folder(d + "/whole/tokens")
        assert len(want) == 6, want
        kills = runs = 0
        while kills < POINTS:
            out = f"{d}/run{runs}"
            runs += 1
            for _ in range(3):
                if not killed(dice.random() * seconds, "train", "lm", *common, "--out", out):
                    break
                kills += 1
                if kills >= POINTS or os.path.exists(out + "/latest"):
                    break
            if not os.path.exists(out + "/latest"):
                run("train", "lm", *common, "--out", out)
            got = folder(out + "/tokens")
            assert got == want, f"tokens of run {runs} differ: {got} {want}"
            check_nothing_torn(out)
        return kills


def token_files():
    with tempfile.TemporaryDirectory() as d:
        world(d + "/data", 1)
        clip = next(d + "/data/" + n for n in os.listdir(d + "/data") if n.endswith(".mp4"))
        command = ["encode", clip, "-t", "1", "-q", "-o"]
        seconds = span(*command, d + "/whole.rtok")
        want, kills = sha(d + "/whole.rtok"), 0
        while kills < POINTS:
            out = d + "/a.rtok"
            kills += killed(dice.random() * seconds, *command, out)
            assert not os.path.exists(out) or sha(out) == want, "a torn token file"
            check_nothing_torn(d)
        run(*command, out)
        assert sha(out) == want
        return kills


def serving():
    job = {**server_rig.TINY, "num_frames": 5, "size": "32x32", "generate_sound": True}
    with tempfile.TemporaryDirectory() as d:
        s = server_rig.Server("--state-dir", d, "--rate-limit", "0")
        begin = time.monotonic()
        want = s.make(**job)["token_sha256"]
        seconds = time.monotonic() - begin
        s.kill()
        for kill in range(POINTS):
            s = server_rig.Server("--state-dir", d, "--rate-limit", "0")
            asked = [s.json("POST", "/v1/videos", job) for _ in range(2)]
            time.sleep(dice.random() * 2 * seconds)
            s.kill()
            s = server_rig.Server("--state-dir", d, "--rate-limit", "0")
            for video in asked:
                done = s.wait(video)
                assert done["status"] == "completed", done
                assert done["token_sha256"] == want, f"kill {kill}: other tokens"
                s.content(done)
            s.kill()
        return POINTS


def main():
    passed = failed = 0
    for case in (training, tokenising, token_files, serving):
        if ONLY not in case.__name__:
            continue
        begin = time.monotonic()
        try:
            kills = case()
            print(f"ok   {case.__name__}: {kills} kills, {time.monotonic() - begin:.0f} s", flush=True)
            passed += 1
        except Exception as error:
            print(f"FAIL {case.__name__}: {type(error).__name__}: {error}", flush=True)
            failed += 1
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
