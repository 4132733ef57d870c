#!/usr/bin/env python3
"""x264 and x265 at the bytes of the bundled tokenizer, clip by clip, through `reelm eval video`.

    tests/peers/video.py build/src/reelm OUT DIR... [-- options of reelm eval]
    tests/peers/video.py build/src/reelm /tmp/peers ../shared/data/video -- --split validation \\
        --perceptual ../shared/data/perceptual/squeezenet_v1.1.safetensors

Debian's ffmpeg with libx264 and libx265. Every clip is encoded from the same frames that the
tokenizer got (OUT/originals, PNG), one key frame, 4:2:0, the largest stream that a search over CRF
finds not above the tokenizer's bytes for that clip (1,280 codes of 18 bits: 2,880 bytes). Counted
are the slices, without start codes: parameter sets and SEI are constant and as little counted as the
header of a token file. TUNE=psnr turns psycho-visual tools off: better in PSNR, worse to look at.
What OUT holds already is not made again."""
import math
import os
import sys

import peers

CODECS = {  # name: encoder, preset, extension, NAL header -> type, types that are slices
    "x264": ("libx264", "veryslow", "h264", lambda b: b & 31, range(1, 6)),
    "x265": ("libx265", "slow", "hevc", lambda b: b >> 1 & 63, range(0, 32)),
}
STEPS = 5  # of the search: CRF + 6 doubles or halves the bytes, about
TUNE = os.environ.get("TUNE", "")


def slice_bytes(stream, codec):
    """Bytes of the slices in an Annex B stream, start codes left out."""
    kind, slices = CODECS[codec][3:]
    total, at = 0, stream.find(b"\0\0\1")
    while at >= 0:
        begin = at + 3
        at = stream.find(b"\0\0\1", begin)
        nal = stream[begin:at if at >= 0 else len(stream)].rstrip(b"\0")
        total += len(nal) if nal and kind(nal[0]) in slices else 0
    return total


def encode(frames, codec, crf):
    encoder, preset, ext = CODECS[codec][:3]
    quiet = ["-x265-params", "log-level=none:info=0"] if codec == "x265" else []
    tuning = ["-tune", TUNE] if TUNE else []
    return peers.run("ffmpeg", "-v", "error", "-framerate", "8", "-i", f"{frames}/%03d.png",
                     "-sws_flags", "bicubic+accurate_rnd+full_chroma_int", "-pix_fmt", "yuv420p",
                     "-c:v", encoder, "-preset", preset, "-crf", f"{crf:.3f}", "-g", "600",
                     "-threads", "1", *tuning, *quiet, "-f", ext, "-")


def decode(stream, codec, folder):
    os.makedirs(folder, exist_ok=True)
    peers.run("ffmpeg", "-v", "error", "-y", "-f", CODECS[codec][2], "-r", "8", "-i", "-",
              "-sws_flags", "bicubic+accurate_rnd+full_chroma_int", "-fps_mode", "passthrough",
              "-start_number", "0", f"{folder}/%03d.png", data=stream)


def search(frames, codec, budget):
    """The largest stream within the budget; when none is, the smallest of CRF 51."""
    low, high, crf = 0.0, 51.0, 30.0
    best, best_bytes = None, 0
    for _ in range(STEPS):
        stream = encode(frames, codec, crf)
        size = slice_bytes(stream, codec)
        if size <= budget:
            high = crf
            if size > best_bytes:
                best, best_bytes = stream, size
        else:
            low = crf
        crf += 6 * math.log2(max(size, 1) / (0.997 * budget))
        if not low < crf < high:
            crf = (low + high) / 2
        if best and best_bytes > 0.985 * budget:
            break
    return best or encode(frames, codec, 51.0)


def main():
    args, options = sys.argv[1:], []
    if "--" in args:
        options = args[args.index("--") + 1:]
        args = args[:args.index("--")]
    program, out, inputs = args[0], args[1], args[2:]
    os.makedirs(out, exist_ok=True)
    own = peers.evaluate(program, "video", inputs, f"{out}/reelm.json", "--keep", out, "--sheet",
                         f"{out}/reelm.png", *options)
    rows = [("reelm", own)]
    for codec in CODECS:
        name = f"{codec}-{TUNE}" if TUNE else codec
        folder = f"{out}/{name}"
        sizes, above = {}, 0
        for item in own["items"]:
            flat = peers.flat(item["name"])
            if os.path.exists(f"{folder}.json"):
                break
            stream = search(f"{out}/originals/{flat}", codec, item["bits"] // 8)
            decode(stream, codec, f"{folder}/{flat}")
            sizes[flat] = slice_bytes(stream, codec)
            above += sizes[flat] > item["bits"] // 8
            peers.write_bytes(folder, sizes)
        if above:
            print(f"{name}: {above} clips stay above the budget at CRF 51", file=sys.stderr)
        rows.append((name, peers.evaluate(program, "video", inputs, f"{folder}.json", "--against",
                                          folder, "--sheet", f"{folder}.png", *options)))
    peers.table(rows, ["psnr", "ssim", "ms_ssim", "perceptual", "flicker", "bits"])


main()
