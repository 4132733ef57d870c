"""The server under pressure and attack: server_hard.py PATH_TO_REELM [CASE]. Loopback only, standard
library only. Names begin with the need they stand for."""
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from server_rig import LONG, PATIENCE, REELM, Server, TINY, check, in_threads, run, shared

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


# ---- N8: progress and previews ----------------------------------------------------------------------


def n8_events_tell_progress_and_show_frames():
    s = shared.get()
    v = s.json("POST", "/v1/videos", {"prompt": "a ball", "size": "48x48", "num_frames": 22, "generate_sound": False})
    seen = s.events(v)
    names = [name for name, _ in seen]
    check(names[0] == "status" and names[-2:] == ["status", "end"], str(names))
    check("progress" in names, str(names))
    check(seen[-2][1]["status"] == "completed" and seen[-1][1]["reason"] == "completed", str(seen[-2:])[:500])
    steps = [data["progress"] for name, data in seen if name == "progress"]
    check(steps == sorted(steps) and all(0 <= p <= 99 for p in steps), str(steps))
    at = 0
    for name, data in seen:
        if name == "preview":
            check(data["first"] == at and data["count"] >= 1, f"frame {data['first']}, expected {at}")
            at += data["count"]
            check(data["image"].startswith("data:image/png;base64,iVBOR"), data["image"][:60])
    check(at == 22, f"{at} of 22 frames were shown, in two windows")
    late = s.events(v)
    check([name for name, _ in late] == ["status", "end"], str(late)[:300])
    check(s.ask("GET", "/v1/videos/video_" + "0" * 32 + "/events")[0] == 404, "unknown id")


def n8_reload_in_mid_job_shows_what_was_shown():
    s = shared.get()
    v = s.json("POST", "/v1/videos", LONG)
    first = []

    def early(name, data):
        first.append((name, data))
        if name == "preview":
            raise StopIteration

    try:
        s.events(v, early)
    except StopIteration:
        pass
    again = []

    def later(name, data):
        again.append((name, data))
        if name == "preview":
            raise StopIteration

    try:
        s.events(v, later)
    except StopIteration:
        pass
    s.json("DELETE", "/v1/videos/" + v["id"])
    check(again[0][0] == "status" and again[0][1]["status"] == "in_progress", str(again)[:300])
    check(again[-1] == first[-1], "another first preview")


def n8_fifty_listeners_hear_the_end():
    s = shared.get()
    v = s.json("POST", "/v1/videos", {**LONG, "num_frames": 9, "size": "32x32"})

    def listen(i):
        seen = s.events(v)
        check(seen[0][0] == "status" and seen[-1] == ("end", {"id": v["id"], "reason": "completed"}), str(seen[-1]))

    in_threads(50, listen)


# ---- N4: cancel -------------------------------------------------------------------------------------


def n4_cancel_frees_the_worker_within_two_seconds():
    s = shared.get()
    for end in ("cancel", "delete"):
        v = s.until(s.json("POST", "/v1/videos", LONG), "in_progress")
        time.sleep(0.5)
        begin = time.monotonic()
        if end == "cancel":
            s.json("POST", f"/v1/videos/{v['id']}/cancel", {})
        else:
            s.json("DELETE", "/v1/videos/" + v["id"])
            s.json("GET", "/v1/videos/" + v["id"], want=404)
        free = 'reelm_requests_processing 0'
        while free not in s.ask("GET", "/metrics")[2].decode():
            time.sleep(0.02)
            check(time.monotonic() - begin < 2 * PATIENCE, f"{end}: still busy after {2 * PATIENCE:.1f} s")
        print(f"     {end}: free after {time.monotonic() - begin:.2f} s")
        if end == "cancel":
            v = s.wait(v)
            check(v["status"] == "failed" and v["error"]["code"] == "cancelled", str(v))
            s.json("POST", f"/v1/videos/{v['id']}/cancel", {}, want=409)
    waiting = s.json("POST", "/v1/videos", LONG), s.json("POST", "/v1/videos", LONG)
    s.json("POST", f"/v1/videos/{waiting[1]['id']}/cancel", {})
    check(s.wait(waiting[1])["error"]["code"] == "cancelled", "queued")
    s.json("DELETE", "/v1/videos/" + waiting[0]["id"])


def n4_sync_client_that_leaves_cancels():
    s = shared.get()
    body = json.dumps(LONG).encode()
    link = socket.create_connection((s.host, s.port))
    link.sendall(
        b"POST /v1/videos/sync HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body) + body
    )
    before = s.json("GET", "/v1/videos?limit=1")
    end = time.monotonic() + 30 * PATIENCE
    while not (before["data"] and before["data"][0]["status"] == "in_progress"):
        before = s.json("GET", "/v1/videos?limit=1")
        check(time.monotonic() < end, str(before)[:300])
        time.sleep(0.1)
    link.close()
    while s.json("GET", "/v1/videos?limit=1")["first_id"] == before["first_id"]:
        check(time.monotonic() < end, "still there")
        time.sleep(0.1)


# ---- Queue, restart, time to live --------------------------------------------------------------------


def n18_queue_is_bounded():
    s = Server("--queue", "2", "--rate-limit", "0")
    try:
        kept = [s.json("POST", "/v1/videos", LONG)]
        s.until(kept[0], "in_progress")
        kept += [s.json("POST", "/v1/videos", LONG) for _ in range(2)]
        check(kept[2]["queue_position"] == 2, str(kept[2]))
        status, head, data = s.ask("POST", "/v1/videos", json.dumps(LONG), {"Content-Type": "application/json"})
        error = json.loads(data)["error"]
        check(status == 429 and error["code"] == "queue_full", f"{status} {data}")
        check(1 <= int(head["retry-after"]) <= 120, str(head))
        s.json("DELETE", "/v1/videos/" + kept[1]["id"])
        s.json("POST", "/v1/videos", LONG)
        s.stop()
    finally:
        s.kill()


def n18_rate_limit():
    s = Server("--rate-limit", "2")
    try:
        codes = [s.ask("DELETE", "/v1/videos/video_" + "0" * 32)[0] for _ in range(12)]
        check(codes[0] == 404 and 429 in codes, str(codes))
        check(s.ask("GET", "/health")[0] == 200, "reading is not limited")
        s.stop()
    finally:
        s.kill()


def n18_fifty_clients_all_end():
    s = Server("--rate-limit", "0", "--queue", "20")
    refused = []
    try:
        s.make()
        before = s.resident()

        def client(i):
            while True:
                body = json.dumps({**TINY, "seed": i})
                status, head, data = s.ask("POST", "/v1/videos", body, {"Content-Type": "application/json"})
                if status == 200:
                    break
                check(status == 429 and int(head["retry-after"]) > 0, f"{status} {data}")
                refused.append(i)
                time.sleep(0.5)
            v = s.wait(json.loads(data), 300)
            check(v["status"] == "completed", str(v))

        in_threads(50, client)
        grown = (s.resident() - before) / 2**20
        check(len(refused) > 0, "nobody was told to wait")
        check(grown < 64, f"memory grew by {grown:.0f} MiB")
        page = s.json("GET", "/v1/videos?limit=100")
        check(len(page["data"]) == 51, f"{len(page['data'])} jobs")
        print(f"     {len(refused)} times 429, memory grew by {grown:.1f} MiB")
        s.stop()
    finally:
        s.kill()


def s12_restart_loses_no_job():
    for how in (signal.SIGKILL, signal.SIGTERM):
        with tempfile.TemporaryDirectory() as state:
            s = Server("--state-dir", state, "--rate-limit", "0")
            try:
                done = s.make()
                clip = s.content(done)[1]
                fields = {**LONG, "num_frames": 30, "size": "64x64", "generate_sound": False}
                jobs = [s.json("POST", "/v1/videos", fields)]
                jobs += [s.json("POST", "/v1/videos", {**TINY, "seed": i}) for i in range(5)]
                s.until(jobs[0], "in_progress")
                time.sleep(0.3)
                s.stop(how, want=-9 if how == signal.SIGKILL else 0)
            finally:
                s.kill()
            s = Server("--state-dir", state, "--rate-limit", "0")
            try:
                order = [v["id"] for v in s.json("GET", "/v1/videos?order=asc")["data"]]
                check(order == [v["id"] for v in [done] + jobs], "another order")
                for v in jobs:
                    v = s.wait(v)
                    check(v["status"] == "completed", str(v))
                check(s.content(done)[1] == clip, "the finished one changed")
                s.stop()
            finally:
                s.kill()


def s12_a_job_that_kills_the_server_is_given_up():
    with tempfile.TemporaryDirectory() as state:
        video = None
        for attempt in range(3):
            s = Server("--state-dir", state)
            try:
                video = video or s.json("POST", "/v1/videos", LONG)
                s.until(video, "in_progress")
                s.stop(signal.SIGKILL, want=-9)
            finally:
                s.kill()
        s = Server("--state-dir", state)
        try:
            video = s.json("GET", "/v1/videos/" + video["id"])
            check(video["status"] == "failed" and video["error"]["code"] == "server_restarted", str(video))
            other = subprocess.run(
                [REELM, "serve", "--port", "0", "--state-dir", state], capture_output=True, text=True
            )
            check(other.returncode != 0 and "another server" in other.stderr, other.stderr)
        finally:
            s.kill()


def s12_damaged_state_is_left_behind():
    with tempfile.TemporaryDirectory() as state:
        for i, text in enumerate(["", "{", "[]", '{"version":1}', '{"version":1,"status":"queued","wish":7}', "\0" * 99]):
            folder = f"{state}/jobs/video_{i:032x}"
            os.makedirs(folder)
            with open(folder + "/job.json", "w") as f:
                f.write(text)
        os.makedirs(f"{state}/jobs/video_{50:032x}")
        os.symlink("/etc", f"{state}/jobs/video_{99:032x}")
        s = Server("--state-dir", state)
        try:
            s.json("GET", "/v1/videos")
            check(s.wait(s.json("POST", "/v1/videos", TINY))["status"] == "completed", "a new job")
            check(os.path.exists("/etc/passwd"), "a link was followed")
            check(all(os.path.exists(f"{state}/jobs/video_{i:032x}/job.json") for i in range(6)), "what was not understood is gone")
            check(not os.path.exists(f"{state}/jobs/video_{50:032x}"), "a folder without a job stayed")
            s.stop()
        finally:
            s.kill()


def s12_those_who_wait_are_told_of_the_end():
    for _ in range(3):
        s = Server()
        try:
            v = s.json("POST", "/v1/videos", LONG)
            answers = {}

            def wait(i):
                if i:
                    answers["sync"] = s.ask("POST", "/v1/videos/sync", json.dumps(TINY), {"Content-Type": "application/json"})
                else:
                    answers["events"] = s.events(v)

            threads = [threading.Thread(target=wait, args=(i,)) for i in range(2)]
            for t in threads:
                t.start()
            s.until(v, "in_progress")
            while len(s.json("GET", "/v1/videos")["data"]) < 2:
                time.sleep(0.05)
            time.sleep(0.3)
            s.stop()
            for t in threads:
                t.join()
            check(answers["events"][-1][1].get("reason") == "server_stopping", str(answers["events"][-1]))
            check(answers["sync"][0] == 503 and b"video_" in answers["sync"][2], str(answers["sync"]))
        finally:
            s.kill()


def s12_finished_jobs_expire():
    s = Server("--job-ttl", "1")
    try:
        v = s.make()
        check(v["expires_at"] == v["completed_at"] + 1, str(v))
        time.sleep(3.5 * min(PATIENCE, 3))
        error = s.json("GET", "/v1/videos/" + v["id"], want=410)["error"]
        check(error["code"] == "expired", str(error))
        s.stop()
    finally:
        s.kill()


def n3_a_full_disk_fails_what_needs_it_only():
    with tempfile.TemporaryDirectory() as state:
        s = Server("--state-dir", state, file_limit=24 * 1024)
        try:
            s.make()
            v = s.make(want="failed", output_format="mkv", size="128x128", num_frames=9, temperature=10, top_p=1)
            check(state not in v["error"]["message"], str(v["error"]))
            error = s.form("/v1/videos", TINY, [("input_reference", "a.gif", b"GIF89a" + bytes(50000))], want=500)["error"]
            check(error["code"] == "io_error" and state not in error["message"], str(error))
            s.make()
            check(len(os.listdir(state + "/jobs")) == 3, "the refused one left something")
            s.stop()
        finally:
            s.kill()


def n18_job_timeout():
    s = Server("--timeout", "0.2")
    try:
        v = s.wait(s.json("POST", "/v1/videos", LONG))
        check(v["status"] == "failed" and v["error"]["code"] == "timeout", str(v))
        s.stop()
    finally:
        s.kill()


# ---- N19: hostile requests ----------------------------------------------------------------------------


def n19_numbers_out_of_range_are_refused():
    s = shared.get()
    ranges = {
        "width": (16, 8192), "height": (16, 8192), "num_frames": (1, 4096), "seconds": (0.01, 600), "fps": (1, 120),
        "seed": (-1, 2**53 - 1), "temperature": (0, 10), "motion_temperature": (0, 10), "audio_temperature": (0, 10), "top_k": (0, 262144),
        "top_p": (0.01, 1), "min_p": (0, 1), "guidance_scale": (0, 30),
        "best_of": (1, 16), "motion_guidance_scale": (0, 30), "audio_guidance_scale": (0, 30),
    }
    for name, (low, high) in ranges.items():
        for value in (low - 1, high + 1 if high < 2**53 - 1 else 2.0**60, 1e308, -1e308, "NaN", "inf", "", "abc", "0x10z", [1], {"a": 1}, True):
            if isinstance(value, (list, dict)):
                body = {**TINY, "strict": True}
            else:
                body = dict(TINY)
            body.pop("size")
            body[name] = value
            error = s.json("POST", "/v1/videos", body, want=400)["error"]
            if not isinstance(value, (list, dict)):
                check(error["param"] == name, f"{name}={value}: {error}")
    for literal in ("NaN", "Infinity", "1e999", "-1e999"):
        body = '{"prompt": "x", "seed": %s}' % literal
        check(s.ask("POST", "/v1/videos", body, {"Content-Type": "application/json"})[0] == 400, literal)
    v = s.json("POST", "/v1/videos", {**TINY, "seed": None, "negative_prompt": None})
    s.json("DELETE", "/v1/videos/" + v["id"])


def n19_bad_bodies_are_refused():
    s = shared.get()
    kind = "multipart/form-data; boundary=B"
    bodies = [
        ("application/json", b"{", 400), ("application/json", b"[]", 400), ("application/json", b'"x"', 400),
        ("application/json", b'{"prompt":' + b"[" * 1200 + b"]" * 1200 + b"}", 400),
        ("application/json", b'{"a":' * 40 + b"1" + b"}" * 40, 400),
        ("application/json", b'{"prompt":"a","prompt":"b"}', 400),
        ("application/json", b'{"prompt":"a\\u0000b"}', 400), ("application/json", b'{"prompt":"\xff"}', 400),
        ("application/json", b'{"x":[' + b"0," * 5000 + b"0]}", 400),
        ("application/json", b'{"prompt":"' + b"a" * 70000 + b'"}', 400),
        ("text/plain", b'{"prompt":"x"}', 415), ("application/x-www-form-urlencoded", b"prompt=x", 415),
        ("multipart/form-data", b"--B--", 400), (kind, b"", 400), (kind, b"hello", 400), (kind, b"--B", 400),
        (kind, b"--B\r\n", 400), (kind, b"--B\r\n\r\nx\r\n--B--", 400),
        (kind, b'--B\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nx', 400),
        (kind, b'--B\r\nContent-Disposition: form-data; name=""\r\n\r\nx\r\n--B--', 400),
        (kind, b"--B\r\nContent-Disposition: form-data; name=\"" + b"n" * 500 + b"\"\r\n\r\nx\r\n--B--", 400),
        (kind, b"".join(b'--B\r\nContent-Disposition: form-data; name="f%d"\r\n\r\nx\r\n' % i for i in range(200)) + b"--B--", 400),
        (kind, b"".join(b'--B\r\nContent-Disposition: form-data; name="f%d"; filename="x"\r\n\r\nx\r\n' % i for i in range(30)) + b"--B--", 400),
    ]
    for content_type, body, want in bodies:
        status, _, data = s.ask("POST", "/v1/videos", body, {"Content-Type": content_type})
        check(status == want, f"{content_type} {body[:80]}: {status}, expected {want}: {data[:200]}")
        check(json.loads(data)["error"]["type"] == "invalid_request_error", data[:200])
    check(s.ask("GET", "/health")[0] == 200, "health")


def n19_clients_name_no_paths_and_nothing_is_fetched():
    s = shared.get()
    for field in ("output_path", "prompt_path", "file_path", "save_path"):
        error = s.json("POST", "/v1/videos", {**TINY, field: "/tmp/x"}, want=400)["error"]
        check(error["code"] == "path_not_allowed", str(error))
    for url in ("http://127.0.0.1:1/x.png", "file:///etc/passwd", "concat:/etc/passwd", "data:image/png,AAAA"):
        s.json("POST", "/v1/videos", {**TINY, "input_reference": {"image_url": url}}, want=400)
    for path in ("/v1/videos/..%2f..%2fetc", "/v1/videos/../../etc/passwd", "/v1/videos/" + "a" * 300, "/v1/videos/%00"):
        check(s.ask("GET", path)[0] in (400, 404), path)
    s.json("POST", "/v1/videos/edits", {"prompt": "x", "video": {"id": "../../../etc/passwd"}}, want=400)


def n19_large_requests_are_refused_before_they_are_read():
    s = Server("--max-upload", "1", "--rate-limit", "0")
    try:
        link = socket.create_connection((s.host, s.port), timeout=20 * PATIENCE)
        link.sendall(b"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000000\r\n\r\n")
        check(b" 413 " in link.recv(4096).split(b"\r\n")[0], "413")
        link.close()
        link = socket.create_connection((s.host, s.port), timeout=20 * PATIENCE)
        link.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 60000 + b"\r\n\r\n")
        check(b" 431 " in link.recv(4096).split(b"\r\n")[0], "431")
        link.close()
        link = socket.create_connection((s.host, s.port), timeout=20 * PATIENCE)
        link.sendall(b"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:  # chunks without end: the connection is closed
            for _ in range(200):
                link.sendall(b"10000\r\n" + b"a" * 65536 + b"\r\n")
            check(not link.recv(10), "still read")
        except OSError:
            pass
        check(s.ask("GET", "/health")[0] == 200 and s.resident() < 2**30, "health")
        s.stop()
    finally:
        s.kill()


def n19_too_much_at_once_is_answered():
    s = Server("--max-upload", "1", "--rate-limit", "0")
    try:
        links = [socket.create_connection((s.host, s.port), timeout=60 * PATIENCE) for _ in range(10)]
        head = b"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
        for link in links:  # all but the last byte of each: the bodies are held side by side
            link.sendall(head + b" " * 999999)
        time.sleep(0.5)
        answers = []
        for link in links:
            link.sendall(b" ")
            answers.append(link.recv(4096))
            link.close()
        codes = sorted(a.split()[1] for a in answers)
        check(set(codes) == {b"400", b"503"}, str(codes))
        check(all(b"etry-after" in a.lower() for a in answers if b" 503 " in a), str(answers)[:500])
        s.stop()
    finally:
        s.kill()


def n19_slow_clients_are_let_go():
    s = shared.get()
    heads = [b"", b"GET /health HTTP/1.1\r\nHost: loc", b"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\n"]
    links = []
    for head in heads:
        link = socket.create_connection((s.host, s.port), timeout=40)
        link.sendall(head)
        links.append(link)
    stop = threading.Event()

    def drip():  # a byte now and then keeps no connection alive
        while not stop.wait(2):
            try:
                links[2].sendall(b"X")
            except OSError:
                return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        begin = time.monotonic()
        for link in links:
            try:
                check(link.recv(10) == b"", "answered")
            except ConnectionResetError:
                pass
        took = time.monotonic() - begin
        check(10 < took < 30, f"let go after {took:.0f} s")
    finally:
        stop.set()
        thread.join()
        for link in links:
            link.close()


def n19_damaged_media_fails_its_job_only():
    s = shared.get()
    error = s.form("/v1/videos", TINY, [("input_reference", "a.png", b"just text")], want=415)["error"]
    check(error["code"] == "unsupported_media_type", str(error))
    s.form("/v1/videos", TINY, [("input_reference", "a.png", b"")], want=400)
    bad = sorted(glob.glob(ROOT + "/tests/bad/media/*"))
    check(len(bad) > 5, "no damaged files")
    videos = []
    for path in bad:
        with open(path, "rb") as f:
            data = f.read()
        edge = b"E"
        body = b'--E\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nx\r\n--E\r\nContent-Disposition: form-data; name="input_reference"; filename="a"\r\n\r\n' + data + b"\r\n--E--"
        status, _, answer = s.ask("POST", "/v1/videos", body, {"Content-Type": "multipart/form-data; boundary=E"})
        check(status in (200, 400, 415), f"{path}: {status} {answer}")
        if status == 200:
            videos.append((path, json.loads(answer)))
    for path, v in videos:
        v = s.wait(v)
        check(v["status"] == "failed" and v["error"]["code"] in ("invalid_media", "generation_failed"), f"{path}: {v}")
        check(len(v["error"]["message"]) > 10 and "/" not in v["error"]["message"], v["error"]["message"])
    s.make()


def n19_decoder_child_refuses_to_be_called():
    p = subprocess.run([REELM, "--decode-upload"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    check(p.returncode == 2 and "server" in p.stderr, p.stderr)


# ---- Keys, hosts, origins -----------------------------------------------------------------------------


def s14_another_codec_is_said_with_the_job():
    """A libavcodec without H.264, by two functions put before its own: VP9 instead, and told so."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        return
    with tempfile.TemporaryDirectory() as folder:
        source, shim = os.path.join(folder, "shim.c"), os.path.join(folder, "shim.so")
        with open(source, "w") as f:
            f.write("""#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
void *avcodec_find_encoder(int id)
{
    void *(*real)(int) = (void *(*)(int))dlsym(RTLD_NEXT, "avcodec_find_encoder");
    return id == 27 ? 0 : real(id); /* AV_CODEC_ID_H264 */
}
void *avcodec_find_encoder_by_name(const char *name)
{
    void *(*real)(const char *) = (void *(*)(const char *))dlsym(RTLD_NEXT, "avcodec_find_encoder_by_name");
    return strstr(name, "264") ? 0 : real(name);
}
""")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
        s = Server(env={"LD_PRELOAD": shim})
        try:
            video = s.make(num_frames=2)
            check(any("no H.264 encoder: VP9 instead" in w for w in video["warnings"]), str(video["warnings"]))
            told = [data for name, data in s.events(video) if name == "status"]
            check(told and told[-1]["warnings"] == video["warnings"], str(told))
            s.stop()
        finally:
            s.kill()


def n18_other_addresses_need_a_key():
    p = subprocess.run([REELM, "serve", "--host", "0.0.0.0", "--port", "0"], capture_output=True, text=True)
    check(p.returncode == 2 and "--api-key" in p.stderr and p.stderr.count("\n") == 1, p.stderr)
    p = subprocess.run([REELM, "serve", "--host", "example.org", "--port", "0"], capture_output=True, text=True)
    check(p.returncode == 2, p.stderr)
    p = subprocess.run([REELM, "serve", "--api-key", "short", "--port", "0"], capture_output=True, text=True)
    check(p.returncode == 2 and "8 to 255" in p.stderr, p.stderr)


def n18_keys_are_checked_and_hidden():
    with tempfile.NamedTemporaryFile("w", suffix=".keys") as f:
        f.write("# ours\nfile-key-123 # one\n\n")
        f.flush()
        s = Server("--api-key", "secret-key-1,secret-key-2", "--api-key-file", f.name)
    try:
        with open(f"/proc/{s.process.pid}/cmdline", "rb") as f:
            check(b"secret-key" not in f.read(), "the key is in the process list")
        for given in (None, "Bearer ", "Bearer secret-key-", "Bearer secret-key-11", "Basic secret-key-1", "Bearer " + "a" * 500):
            status, head, data = s.ask("GET", "/v1/videos", headers={"Authorization": given} if given else {})
            check(status == 401 and json.loads(data)["error"]["type"] == "authentication_error", f"{given}: {status}")
            check(head["www-authenticate"] == "Bearer", str(head))
        for key in ("secret-key-1", "secret-key-2", "file-key-123"):
            s.json("GET", "/v1/videos", headers={"Authorization": "Bearer " + key})
        for path in ("/health", "/v1/health", "/"):
            check(s.ask("GET", path)[0] == 200, path)
        for path in ("/metrics", "/props", "/v1/models", "/v1/nothing"):
            check(s.ask("GET", path)[0] == 401, path)
        link = socket.create_connection((s.host, s.port), timeout=20 * PATIENCE)
        link.sendall(b"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000000\r\n\r\n")
        check(b" 401 " in link.recv(4096).split(b"\r\n")[0], "401 before the body")
        link.close()
        s.stop()
    finally:
        s.kill()
    s = Server(env={"REELM_API_KEY": "from-the-environment"})
    try:
        check(s.ask("GET", "/v1/videos")[0] == 401, "environment")
        s.json("GET", "/v1/videos", headers={"Authorization": "Bearer from-the-environment"})
        s.stop()
    finally:
        s.kill()


def n18_other_peoples_pages_are_refused():
    s = shared.get()
    for host in ("evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "[::1", "localhost:x", "a" * 300):
        check(s.ask("GET", "/v1/videos", headers={"Host": host})[0] in (400, 403), host)
    for host in ("localhost", "localhost:1", "127.0.0.1", "[::1]:80", "192.168.1.2:8080"):
        check(s.ask("GET", "/v1/videos", headers={"Host": host})[0] == 200, host)
    head = {"Content-Type": "application/json", "Origin": "http://evil.example"}
    status, answer, data = s.ask("POST", "/v1/videos", json.dumps(TINY), head)
    check(status == 403 and json.loads(data)["error"]["code"] == "origin_not_allowed", f"{status} {data}")
    check(not any(k.startswith("access-control") for k in answer), str(answer))
    check(s.ask("POST", "/v1/videos", json.dumps(TINY), {**head, "Origin": "null"})[0] == 403, "null")
    del head["Origin"]
    check(s.ask("POST", "/v1/videos", json.dumps(TINY), {**head, "Sec-Fetch-Site": "cross-site"})[0] == 403, "site")
    status, answer, _ = s.ask("OPTIONS", "/v1/videos", headers={"Origin": "http://evil.example"})
    check(not any(k.startswith("access-control") for k in answer), str(answer))
    own = {**head, "Origin": f"http://{s.host}:{s.port}"}
    status, _, data = s.ask("POST", "/v1/videos", json.dumps(TINY), own)
    check(status == 200, "our own page")
    s.wait(json.loads(data))
    s2 = Server("--allow-host", "video.example", "--cors-origins", "http://a.example,http://b.example")
    try:
        check(s2.ask("GET", "/health", headers={"Host": "video.example:80"})[0] == 200, "allowed host")
        status, answer, _ = s2.ask("OPTIONS", "/v1/videos", headers={"Origin": "http://b.example"})
        check(status == 204 and answer["access-control-allow-origin"] == "http://b.example", str(answer))
        asked = {"Origin": "http://b.example", "Access-Control-Request-Headers": "authorization,x-stainless-os"}
        check("x-stainless-os" in s2.ask("OPTIONS", "/v1/videos", headers=asked)[1]["access-control-allow-headers"], "headers")
        status, answer, _ = s2.ask("GET", "/v1/videos", headers={"Origin": "http://c.example"})
        check("access-control-allow-origin" not in answer, str(answer))
        s2.stop()
    finally:
        s2.kill()


run([case for name, case in list(globals().items()) if re.match("[ns][0-9]+_", name)])
