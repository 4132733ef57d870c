"""The unmodified openai client from PyPI against reelm serve: openai_client.py PATH_TO_REELM.
Skips (77) where the package is absent: python3 -m venv /tmp/v && /tmp/v/bin/pip install openai, then
run this with /tmp/v/bin/python."""
import io
import sys
import warnings

warnings.simplefilter("ignore")  # OpenAI's own service for it is closing; the shape lives on
try:
    import openai
except ImportError:
    print("skipped: no openai package")
    sys.exit(77)

from server_rig import Server, check, run, shared


def client(s, key="unused", **more):
    return openai.OpenAI(base_url=s.url + "/v1", api_key=key, **more)


def n18_sdk_text_to_video():
    c = client(shared.get())
    v = c.videos.create_and_poll(prompt="a red ball bounces", size="16x16", seconds="1", poll_interval_ms=100)
    check(v.status == "completed" and v.progress == 100 and v.object == "video", str(v))
    check(v.seconds == "1" and v.size == "16x16" and v.prompt == "a red ball bounces", str(v))
    data = c.videos.download_content(v.id).read()
    check(data[4:8] == b"ftyp", repr(data[:12]))
    for variant in ("thumbnail", "spritesheet"):
        check(c.videos.download_content(v.id, variant=variant).read()[:4] == b"\x89PNG", variant)
    gone = c.videos.delete(v.id)
    check(gone.deleted and gone.id == v.id, str(gone))
    try:
        c.videos.retrieve(v.id)
        check(False, "it is still there")
    except openai.NotFoundError as error:
        check(error.code == "not_found", str(error))


def n18_sdk_image_to_video():
    c = client(shared.get())
    fields = {"num_frames": 2, "seed": 5, "generate_sound": False}
    first = c.videos.create_and_poll(prompt="a cube", size="16x16", extra_body={"num_frames": 1, "seed": 3})
    check(first.status == "completed" and first.num_frames == 1 and first.seed == 3, str(first))
    picture = io.BytesIO(c.videos.download_content(first.id, variant="thumbnail").read())
    picture.name = "first.png"
    v = c.videos.create(prompt="it rolls", input_reference=picture, extra_body=fields)
    check(v.inputs == ["condition"], str(v))
    v = c.videos.poll(v.id, poll_interval_ms=100)
    check(v.status == "completed" and v.size == "16x16" and v.num_frames == 2 and v.seed == 5, str(v))


def n18_sdk_list_retrieve_remix():
    c = client(shared.get())
    made = [
        c.videos.create_and_poll(prompt=f"ball {i}", size="16x16", extra_body={"num_frames": 1, "seed": i})
        for i in range(3)
    ]
    page = c.videos.list(limit=2, order="asc")
    check(page.has_more and len(page.data) == 2, str(page))
    ids = [v.id for v in c.videos.list(limit=2)]  # the client turns the pages
    check([v.id for v in reversed(made)] == ids[:3], str(ids))
    v = c.videos.retrieve(made[0].id)
    check(v.status == "completed" and v.error is None, str(v))
    v = c.videos.remix(v.id, prompt="a green ball")
    check(v.remixed_from_video_id == made[0].id and v.seed == 0, str(v))
    check(c.videos.poll(v.id, poll_interval_ms=100).status == "completed", "remix")


def n18_sdk_edits_and_extensions():
    c = client(shared.get())
    if not hasattr(c.videos, "extend"):
        return  # an older client
    first = c.videos.create_and_poll(prompt="a ball", size="16x16", extra_body={"num_frames": 5, "generate_sound": False})
    clip = ("in.mp4", c.videos.download_content(first.id).read())
    v = c.videos.extend(prompt="it goes on", seconds="1", video=clip)
    v = c.videos.poll(v.id, poll_interval_ms=100)
    check(v.status == "completed" and v.seconds == "1.625", str(v))
    v = c.videos.edit(prompt="a blue ball", video=clip, extra_body={"mask_box": "0,0,8,16"})
    v = c.videos.poll(v.id, poll_interval_ms=100)
    check(v.status in ("completed", "failed") and v.settings["mask_box"] == "0,0,8,16", str(v))


def n18_sdk_errors():
    c = client(shared.get(), max_retries=0)
    for call, kind, param in (
        (lambda: c.videos.create(prompt="x", size="huge"), openai.BadRequestError, "size"),
        (lambda: c.videos.create(prompt="x", extra_body={"top_p": 2}), openai.BadRequestError, "top_p"),
        (lambda: c.videos.remix("video_" + "0" * 32, prompt="x"), openai.NotFoundError, "video_id"),
    ):
        try:
            call()
            check(False, f"no {kind}")
        except kind as error:
            check(error.param == param and error.request_id.startswith("req_"), str(error.body))


def n18_sdk_key():
    s = Server("--api-key", "a-good-key")
    try:
        check(client(s, "a-good-key").videos.list().data == [], "list")
        check(client(s, "a-good-key").models.list().data[0].id.startswith("reelm-"), "models")
        try:
            client(s, "a-bad-key").videos.list()
            check(False, "a bad key was taken")
        except openai.AuthenticationError as error:
            check("Invalid API key" in str(error), str(error))
        s.stop()
    finally:
        s.kill()


run([case for name, case in list(globals().items()) if name.startswith("n18_")])
