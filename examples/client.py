#!/usr/bin/env python3
"""A clip from a running `reelm serve` through the unmodified `openai` client.

    pip install openai;  reelm serve &  python3 client.py "a red ball" out.mp4 [URL] [KEY]
"""
import sys

try:
    from openai import OpenAI
except ImportError:
    print("skipped: the package openai is not installed")
    sys.exit(77)

prompt = sys.argv[1] if len(sys.argv) > 1 else "a red ball bounces on grass"
path = sys.argv[2] if len(sys.argv) > 2 else "out.mp4"
url = sys.argv[3] if len(sys.argv) > 3 else "http://127.0.0.1:8080"
key = sys.argv[4] if len(sys.argv) > 4 else "none"

client = OpenAI(base_url=url.rstrip("/") + "/v1", api_key=key)
video = client.videos.create_and_poll(
    prompt=prompt, size="128x128", extra_body={"seed": 1, "num_frames": 5}
)
if video.status != "completed":
    sys.exit(f"{video.id}: {video.error}")
client.videos.download_content(video.id).write_to_file(path)
print(f"{video.id}: {video.seconds} s at {video.size} in {path}")
client.videos.delete(video.id)
