"""Packs real clips and photos for twin_train_video.py: a tar of files and their index.

    python3 tests/golden/twin_pack_video.py DATA PATH MEGABYTES     -> PATH0.tar, PATH1.tar, ...

DATA holds video/ and photos/ with manifest.tsv. Validation is what assets/splits names. Photos are
shrunk to a short side of 256 pixels, as the C loader keeps them. Validation comes first, a group
that dominates the data last, so that whoever can carry one part alone has the best one."""
import csv
import io
import json
import os
import random
import subprocess
import sys
import tarfile

from PIL import Image

PHOTO_SHORT, QUALITY = 256, 82


def size_of(path):
    made = subprocess.run(["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries",
                           "stream=width,height", "-of", "csv=p=0", path], stdout=subprocess.PIPE)
    return [int(v) for v in made.stdout.decode().strip().strip(",").split(",")[:2]]


def shrink(path):
    picture = Image.open(path).convert("RGB")
    scale = PHOTO_SHORT / min(picture.size)
    if scale < 1:
        picture = picture.resize([round(v * scale) for v in picture.size], Image.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=QUALITY, method=6)
    return out.getvalue()


def entries(data, kind, folder):
    with open(os.path.join("assets/splits", f"{folder}.txt")) as f:
        held = set(f.read().split())
    with open(os.path.join(data, folder, "manifest.tsv")) as f:
        for row in csv.DictReader(f, delimiter="\t"):
            path = os.path.join(data, folder, row["file"])
            body = open(path, "rb").read() if kind == "video" else shrink(path)
            e = {"file": f"{folder}/{row['file']}", "kind": kind, "group": row.get("source") or row["repository"],
                 "split": int(row["file"] in held)}
            if kind == "video":
                e["width"], e["height"] = size_of(path)
            yield e, body


def write_tar(path, items):
    index = json.dumps([e for e, _ in items]).encode()
    with tarfile.open(path, "w") as tar:
        for name, body in [("index.json", index)] + [(e["file"], b) for e, b in items]:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    print(path, os.path.getsize(path), "bytes,", len(items), "files")


def main():
    data, path, room = sys.argv[1], sys.argv[2], float(sys.argv[3]) * 1e6
    items = list(entries(data, "video", "video")) + list(entries(data, "photo", "photos"))
    groups = {}
    for e, _ in items:
        groups[e["group"]] = groups.get(e["group"], 0) + 1
    random.Random(1).shuffle(items)
    items.sort(key=lambda i: (not i[0]["split"], groups[i[0]["group"]] > len(items) / 4))
    part, size = [], 0
    number = 0
    for item in items + [None]:
        if item is None or size + len(item[1]) > room:
            write_tar(f"{path}{number}.tar", part)
            part, size, number = [], 0, number + 1
        if item:
            part.append(item)
            size += len(item[1]) + 1024
    return 0


main()
