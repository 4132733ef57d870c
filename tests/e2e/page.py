"""The web page in a real browser, from end to end: page.py REELM [SHOTS_FOLDER [CASE...]].

Skips with exit code 77 where there is no browser. Ends with "N passed, N failed"."""

import base64
import json
import pathlib
import sys
import tempfile
import urllib.error
import urllib.request

import browser
from browser import request, wait

ENTER, CONTROL, TAB = "\ue007", "\ue009", "\ue004"
KEY = "a-key-of-tests"
SOON = browser.PATIENCE / 6
TINY = {"prompt": "a red ball", "size": "16x16", "num_frames": 2, "seed": 3, "generate_sound": False}


def state(b):
    return b.js("return document.querySelector('#gallery > li .state')?.textContent || ''")


def finished(b, count):
    return wait(f"{count} finished clips", lambda: b.js(
        "return document.querySelectorAll('#gallery .facts').length") >= count)


def count(b, css="#gallery > li"):
    return b.js("return document.querySelectorAll(arguments[0]).length", css)


def case_first_look(b, base, shots):
    b.open(base)
    wait("the model's name", lambda: b.js("return document.getElementById('about').textContent"))
    assert b.js("return document.title") == "reelm"
    paint = b.js("return performance.getEntriesByName('first-contentful-paint')[0]?.startTime || 0")
    size = b.js("return performance.getEntriesByType('resource').concat(performance"
                ".getEntriesByType('navigation')).filter((e) => !e.name.includes('/v1/') && "
                "!e.name.includes('/props')).reduce((s, e) => s + e.decodedBodySize, 0)")
    print(f"first contentful paint {paint:.0f} ms, page {size} bytes")
    assert 0 < paint < 2000, "the page paints late even for a busy machine"
    assert 5000 < size < 60000, f"the page weighs {size} bytes, 60000 are allowed"
    outside = b.js("return performance.getEntriesByType('resource').filter((e) => "
                   "new URL(e.name).origin !== location.origin).length")
    assert outside == 0, "the page loads something from elsewhere"
    b.shot(shots, "1-empty")


def case_labels(b, base, shots):
    bad = b.js("return [...document.querySelectorAll('input,select,textarea,button')].filter((e) "
               "=> !(e.labels && e.labels.length) && !e.ariaLabel && !e.textContent.trim())"
               ".map((e) => e.outerHTML.slice(0, 80))")
    assert not bad, f"without a name: {bad}"
    assert b.js("return document.documentElement.lang") == "en"
    assert b.js("return document.getElementById('go').disabled"), "nothing to make yet"


def case_prompt_to_clip(b, base, shots):
    b.keys("#prompt", "a red ball bounces on grass")
    assert "from your words" in b.js("return document.getElementById('task-line').textContent")
    b.keys("#seed", "7")
    b.keys("#prompt", CONTROL + ENTER)
    wait("a card", lambda: b.js("return document.querySelectorAll('#gallery > li').length") == 1)
    wait("progress", lambda: "%" in state(b) or b.js(
        "return document.querySelectorAll('#gallery .facts').length"))
    b.open(base)  # a reload in the middle loses nothing
    finished(b, 1)
    wait("a playable video", lambda: b.js(
        "const v = document.querySelector('#gallery video'); return v && v.readyState >= 1 && "
        "v.videoWidth === 128 && v.duration > 2 && v.duration < 2.4"))
    assert "seed 7" in b.js("return document.querySelector('#gallery .facts').textContent")
    b.shot(shots, "2-clip")


def case_best_of(b, base, shots):
    """The one that is kept says of how many; made again it is one seed, and the same clip."""
    b.js("document.getElementById('clear').click(); document.getElementById('more').open = true;"
         "document.getElementById('seconds').value = 0.125; document.getElementById('sound').checked = false")
    b.keys("#prompt", "a red ball on grass")
    b.keys("#best_of", "3")
    b.click("#go")
    finished(b, 2)
    v = request(base + "/v1/videos")["data"][0]
    of, shown = v["chosen"]["of"], v["chosen"]["facts_shown"]
    assert of == 3 and 0 <= v["seed"] - v["chosen"]["first_seed"] < 3, v
    facts = b.js("return document.querySelector('#gallery .facts').textContent")
    assert f"best of 3: shows {shown} of" in facts, facts
    b.shot(shots, "10-best")
    click_in(b, v["id"], "Again with this seed")
    assert value(b, "best_of") == ""
    b.click("#go")
    finished(b, 3)
    again = request(base + "/v1/videos")["data"][0]
    assert again["token_sha256"] == v["token_sha256"] and "chosen" not in again, again
    for job in (v["id"], again["id"]):
        click_in(b, job, "Delete")
    wait("one card", lambda: count(b) == 1)
    b.js("document.getElementById('clear').click()")


def case_again_with_seed(b, base, shots):
    b.click_text("Again with this seed")
    assert b.js("return document.getElementById('seed').value") == "7"
    assert b.js("return document.getElementById('prompt').value") == "a red ball bounces on grass"


def click_in(b, job, text):
    b.js("[...document.querySelectorAll(`[data-id=${arguments[0]}] button`)]"
         ".find((x) => x.textContent === arguments[1]).click()", job, text)


def value(b, field):
    return b.js("return document.getElementById(arguments[0]).value", field)


def case_again_is_the_same(b, base, shots):
    """Also where files, settings without a field here, or numbers between a slider's steps made it."""
    first = request(base + "/v1/videos")["data"][0]["id"]
    with urllib.request.urlopen(f"{base}/v1/videos/{first}/content?variant=thumbnail") as r:
        picture = "data:image/png;base64," + base64.b64encode(r.read()).decode()
    odd = {"num_frames": 3, "fps": 12, "seed": 12, "guidance_scale": 4.55, "motion_temperature": 0.31}
    made = request(base + "/v1/videos", {**odd, "input_reference": {"image_url": picture}})["id"]
    b.open(base)
    finished(b, 2)
    b.js("for (const [id, v] of [['temperature', 0.1], ['negative', 'blue'], ['fps', 5]])"
         "document.getElementById(id).value = v")
    click_in(b, made, "Again with this seed")
    left = [f for f in ("prompt", "temperature", "negative") if value(b, f)]
    assert not left, f"of the form before: {left}"
    assert "its file" in b.js("return document.getElementById('given').textContent")
    b.shot(shots, "9-again")
    b.click("#go")
    finished(b, 3)
    new = request(base + "/v1/videos")["data"][0]["id"]
    for field in ("inputs", "token_sha256", "num_frames", "fps"):
        was, now = (request(f"{base}/v1/videos/{job}")[field] for job in (made, new))
        assert was and was == now, f"{field}: {was}, then {now}"
    b.js("document.getElementById('no-seed').click(); document.getElementById('temperature').value = 0.5")
    b.click("#go")
    finished(b, 4)
    other = request(base + "/v1/videos")["data"][0]
    assert other["seed"] != 12 and other["settings"]["temperature"] == 0.5, other["settings"]
    for job in (made, new, other["id"]):
        click_in(b, job, "Delete")
    wait("one card", lambda: count(b) == 1)
    assert not count(b, "#given li"), "the clip to make again is gone"


def case_long_again(b, base, shots):
    job = request(base + "/v1/videos", {"prompt": "a red ball", "seconds": 30})["id"]
    request(f"{base}/v1/videos/{job}/cancel", method="POST")
    b.open(base)
    wait("both cards", lambda: count(b) == 2 and "Cancelled" in b.js(
        "return document.querySelector('#gallery .stage').textContent"))
    click_in(b, job, "Again with this seed")
    assert float(value(b, "seconds")) == 30, value(b, "seconds")
    click_in(b, job, "Delete")
    wait("one card", lambda: count(b) == 1)
    b.click("#clear")


def case_preview_and_cancel(b, base, shots):
    b.js("document.getElementById('seconds').value = 8;"
         "document.getElementById('seconds').dispatchEvent(new Event('input'))")
    b.click("#go")
    wait("frames while it is made", lambda: b.js(
        "const c = document.querySelector('#gallery canvas'); return c && c.width >= 16"))
    b.shot(shots, "3-preview")
    b.click_text("Cancel")
    wait("the cancelled card", lambda: b.js(
        "return document.querySelector('#gallery .stage').textContent") == "Cancelled")
    b.click_text("Delete")
    wait("one card", lambda: b.js("return document.querySelectorAll('#gallery > li').length") == 1)


def case_picture(b, base, shots):
    picture = pathlib.Path(b.folder) / "picture.png"
    video = request(base + "/v1/videos")["data"][0]["id"]
    with urllib.request.urlopen(f"{base}/v1/videos/{video}/content?variant=thumbnail") as r:
        picture.write_bytes(r.read())
    b.click("#clear")
    b.keys("#files", str(picture))
    wait("the picture", lambda: b.js("return document.querySelectorAll('#given li').length") == 1)
    assert "to life" in b.js("return document.getElementById('task-line').textContent")
    b.js("document.getElementById('seconds').value = 1")
    b.click("#go")
    finished(b, 2)
    b.click("#clear")
    wait("an empty form", lambda: b.js("return document.querySelectorAll('#given li').length") == 0)


def case_extend(b, base, shots):
    b.click_text("Extend")
    assert "Continues" in b.js("return document.getElementById('task-line').textContent")
    b.js("document.getElementById('seconds').value = 1")
    b.click("#go")
    finished(b, 3)
    longest = max(float(v["seconds"]) for v in request(base + "/v1/videos")["data"])
    assert longest > 1.5, f"the extension is {longest} s long"
    left = b.js("document.getElementById('clear').click(); return "
                "document.querySelectorAll('#given li').length")
    assert left == 0, "Clear leaves the file for a while: it may clear what is given next"


def case_sound_spans(b, base, shots):
    b.click_text("Extend")
    b.js("const e = document.querySelector('#given select'); e.value = 'sound'; e.dispatchEvent(new Event('change'));"
         "document.getElementById('more').open = true")
    b.keys("#sound_spans", "0.25-0.5")
    assert "seconds of its sound" in b.js("return document.getElementById('task-line').textContent")
    b.click("#go")
    finished(b, 4)
    made = request(base + "/v1/videos")["data"][0]
    assert made["settings"].get("sound_spans") == "0.25-0.5", made["settings"]
    b.click("#clear")


def use(b, text):
    b.js("[...document.querySelectorAll('#given button')].find((x) => x.textContent === arguments[0])"
         ".click()", text)


def case_settings_from_file(b, base, shots):
    made = [v for v in request(base + "/v1/videos")["data"] if v["seed"] == 7]
    path = pathlib.Path(b.folder) / "made.mp4"
    with urllib.request.urlopen(f"{base}/v1/videos/{made[-1]['id']}/content") as r:
        path.write_bytes(r.read())
    b.open(base)
    finished(b, 3)
    b.keys("#prompt", "something else")
    b.keys("#files", str(path))
    wait("a question", lambda: count(b, "#given button") == 3, SOON)
    b.shot(shots, "10-offer")
    b.click("#go")
    assert "made.mp4" in b.js("return document.getElementById('complaint').textContent")
    use(b, "Use its settings")
    assert value(b, "seed") == "7" and value(b, "prompt") == "a red ball bounces on grass"
    assert count(b, "#given li") == 0
    b.keys("#files", str(path))
    wait("the question again", lambda: count(b, "#given button") == 3)
    use(b, "Use the video")
    assert count(b, "#given select") == 1 and "Continues" in b.js(
        "return document.getElementById('task-line').textContent")
    b.click("#clear")
    assert count(b, "#given li") == 0


def queue(base, count):
    """-> ids of jobs to come: a long one, and small ones behind it"""
    long = {**TINY, "size": "128x128", "num_frames": 200}
    return [request(base + "/v1/videos", fields)["id"] for fields in [long] + [TINY] * (count - 1)]


def answers(b):
    return b.js("return Promise.race([fetch('/health', {cache: 'no-store'}).then((r) => r.ok),"
                "new Promise((r) => setTimeout(() => r(false), arguments[0]))])", min(SOON * 500, 20000))


def case_many_jobs(b, base, shots):
    """A long queue leaves connections free, in two tabs; older clips come though the last shown
    has gone; what is deleted elsewhere goes here."""
    done = len(request(base + "/v1/videos?limit=100")["data"])
    ids = queue(base, 23)
    b.open(base)
    wait("the first 24", lambda: count(b) == 24)
    wait("progress", lambda: b.js("return [...document.querySelectorAll('.state')].some((s) => "
                                  "s.textContent.includes('%'))"), SOON)
    b.shot(shots, "7-queue")
    assert answers(b), "the page holds all connections"
    first = b.do("/window")
    b.do("/window", {"handle": b.do("/window/new", {"type": "tab"})["handle"]})
    b.open(base)
    wait("the other tab", lambda: count(b) == 24, SOON)
    assert answers(b), "two tabs hold all connections"
    request(b.url + "/window", method="DELETE")
    b.do("/window", {"handle": first})
    b.js("[...document.querySelectorAll('#gallery > li:last-child button')]"
         ".find((x) => x.textContent === 'Delete').click()")
    wait("the last card to go", lambda: count(b) == 23, SOON)
    b.click("#older")
    wait("older ones", lambda: count(b) == 23 + done - 1, SOON)
    for job in (ids[5], ids[0]):  # one that waits, the one in work
        request(f"{base}/v1/videos/{job}", method="DELETE")
        wait("its card to go", lambda: not count(b, f"[data-id={job}]"), SOON)
    new = request(base + "/v1/videos", TINY)["id"]
    wait("one made elsewhere", lambda: b.js(
        "return document.querySelector('#gallery > li').dataset.id === arguments[0]", new), SOON)
    wait("all", lambda: not count(b, ".state"))
    b.open("about:blank")
    for job in [*ids, new]:
        if job not in (ids[0], ids[5]):
            request(f"{base}/v1/videos/{job}", method="DELETE")
    b.open(base)
    finished(b, done - 1)


def case_lost(b, base, shots):
    """The page says that the server is away, and goes on when it is back."""
    with tempfile.TemporaryDirectory() as folder:
        port = browser.free_port()
        process = browser.start(sys.argv[1], folder, port)
        try:
            job = queue(f"http://127.0.0.1:{port}", 1)[0]
            b.open(f"http://127.0.0.1:{port}")
            wait("the job", lambda: "%" in state(b))
            browser.stop(process)
            lost = "return document.getElementById('lost')?.textContent || ''"
            wait("word of it", lambda: "Trying again" in b.js(lost), SOON)
            b.shot(shots, "8-lost")
            process = browser.start(sys.argv[1], folder, port)
            wait("its return", lambda: b.js(lost) == "" and "%" in state(b), SOON)
            request(f"http://127.0.0.1:{port}/v1/videos/{job}", method="DELETE")
            wait("no card", lambda: count(b) == 0, SOON)
        finally:
            browser.stop(process)
        loud = [e["message"] for e in b.log() if e["level"] == "SEVERE" and "ERR_" not in e["message"]
                and " 503 " not in e["message"]]
        assert not loud, f"console: {loud}"


def case_drag(b, base, shots):
    """Files are taken wherever they are dropped; words go where the browser puts them."""
    b.open(base)
    wait("the page", lambda: b.js("return document.getElementById('about').textContent"))
    drag = ("const d = new DataTransfer(); if (arguments[1]) d.items.add(new File(['x'], 'x.png', "
            "{type: 'image/png'})); else d.setData('text/plain', 'a red ball');"
            "const e = new DragEvent(arguments[0], {dataTransfer: d, cancelable: true, bubbles: true});"
            "document.getElementById('prompt').dispatchEvent(e); return e.defaultPrevented")
    for event in ("dragover", "drop"):
        assert not b.js(drag, event, False), f"{event} of words is stopped"
        assert b.js(drag, event, True), f"{event} of a file is left to the browser"
    wait("the file", lambda: b.js("return document.querySelectorAll('#given li').length") == 1)
    assert not b.js("return document.body.classList.contains('over')")
    b.click("#clear")


def case_keyboard(b, base, shots):
    b.js("document.body.focus(); document.activeElement.blur()")
    seen = []
    for _ in range(12):
        b.do("/actions", {"actions": [{"type": "key", "id": "k", "actions": [
            {"type": "keyDown", "value": TAB}, {"type": "keyUp", "value": TAB}]}]})
        seen.append(b.js("const e = document.activeElement; return e.id || e.className"))
    for name in ("prompt", "files", "size", "seconds", "go"):
        assert name in seen or name == "go", f"{name} is not reached by Tab: {seen}"


def case_small_window(b, base, shots):
    """Beside a long list every control of the form can be scrolled to, with the list at its top."""
    b.do("/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": {
        "width": 1280, "height": 720, "deviceScaleFactor": 1, "mobile": False}})
    b.open(base)
    wait("the page", lambda: b.js("return document.getElementById('about').textContent"))
    b.js("document.getElementById('gallery').style.minHeight = '3000px';"
         "document.getElementById('more').open = true;"
         "document.getElementById('edit-fields').hidden = false; scrollTo(0, 0);"
         "document.getElementById('compose').scrollTop = 1e6")
    at = b.js("const r = document.getElementById('go').getBoundingClientRect();"
              "return document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2)?.id")
    b.shot(shots, "6-small-window")
    b.js("document.getElementById('gallery').style.minHeight = '';"
         "document.getElementById('more').open = false;"
         "document.getElementById('edit-fields').hidden = true")
    b.do("/goog/cdp/execute", {"cmd": "Emulation.clearDeviceMetricsOverride", "params": {}})
    assert at == "go", f"where 'Make it' should be: {at}"


def case_phone(b, base, shots):
    b.do("/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": {
        "width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}})
    b.js("take([new File(['x'], 'a'.repeat(80) + '.wav', {type: 'audio/wav'})])")
    wait("a file with a long name", lambda: count(b, "#given li") == 1)
    wide = b.js("return document.documentElement.scrollWidth")
    assert wide <= 360, f"{wide} pixels wide on a phone of 360"
    small = b.js("return [...document.querySelectorAll('button')].filter((e) => e.offsetParent && "
                 "e.getBoundingClientRect().height < 36).map((e) => e.textContent)")
    assert not small, f"too small for a thumb: {small}"
    b.shot(shots, "4-phone")
    b.click("#clear")
    b.do("/goog/cdp/execute", {"cmd": "Emulation.clearDeviceMetricsOverride", "params": {}})


def case_dark(b, base, shots):
    b.do("/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {
        "features": [{"name": "prefers-color-scheme", "value": "dark"}]}})
    ink = b.js("return getComputedStyle(document.body).color")
    assert int(ink.split("(")[1].split(",")[0]) > 180, f"dark ink on dark ground: {ink}"
    b.shot(shots, "5-dark")


def use_key(b, text):
    b.js("document.getElementById('key').value = arguments[0];"
         "document.querySelector('#key-dialog button').click()", text)
    return wait("an answer to the key", lambda: b.js(
        "return document.getElementById('key-dialog').open ? document.getElementById('key-title')"
        ".textContent : document.getElementById('about').textContent"), SOON)


def case_key(b, base, shots):
    """A key that no header can carry, a wrong one, the right one; what was fetched with it goes."""
    with browser.server(sys.argv[1], "--api-key", KEY) as (locked, _):
        asked = urllib.request.Request(locked + "/v1/videos", json.dumps(TINY).encode(), {
            "Content-Type": "application/json", "Authorization": "Bearer " + KEY})
        urllib.request.urlopen(asked).read()
        b.open(locked)
        open_dialog = "return document.getElementById('key-dialog').open"
        wait("the question", lambda: b.js(open_dialog))
        b.js("window.urls = 0; const make = URL.createObjectURL, free = URL.revokeObjectURL;"
             "URL.createObjectURL = (x) => { urls++; return make.call(URL, x); };"
             "URL.revokeObjectURL = (x) => { urls--; free.call(URL, x); };")
        for wrong, said in (("\u043a\u043b\u044e\u0447-1234", "ASCII"), ("another-key", "not right")):
            told = wait("why", lambda: (lambda s: said in s and s)(use_key(b, wrong)), SOON)
            assert b.js(open_dialog), told
            assert not b.js("return sessionStorage.getItem('key')"), f"{wrong} is kept"
        assert "reelm" in use_key(b, KEY)
        assert b.js("return sessionStorage.getItem('key')") == KEY
        finished(b, 1)
        wait("its picture", lambda: b.js(
            "return document.querySelector('#gallery video')?.src.startsWith('blob:')"))
        b.click_text("Download")
        b.click_text("Delete")
        wait("all addresses given back", lambda: b.js(
            "return !document.querySelector('#gallery > li') && urls === 0"), SOON)
        loud = [e["message"] for e in b.log() if e["level"] == "SEVERE" and "401" not in e["message"]]
        assert not loud, f"console: {loud}"


def case_quiet_console(b, base, shots):
    loud = [e["message"] for e in b.log() if e["level"] == "SEVERE"]
    assert not loud, f"console: {loud}"


CASES = [case_first_look, case_labels, case_prompt_to_clip, case_best_of, case_again_with_seed,
         case_preview_and_cancel, case_again_is_the_same, case_long_again, case_picture,
         case_extend, case_sound_spans, case_settings_from_file, case_many_jobs, case_keyboard,
         case_drag, case_small_window, case_phone, case_dark, case_quiet_console, case_lost,
         case_key]


def main():
    programs = browser.programs()
    reelm, shots = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    passed = failed = 0
    with browser.server(reelm) as (base, folder):
        b = browser.Browser(*programs, folder)
        try:
            if sys.argv[3:]:
                b.open(base)
            for case in [c for c in CASES if c.__name__[5:] in sys.argv[3:] or not sys.argv[3:]]:
                try:
                    case(b, base, shots)
                    passed += 1
                except (AssertionError, urllib.error.HTTPError) as e:
                    failed += 1
                    print(f"FAIL {case.__name__}: {e}")
        finally:
            b.close()
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
