#!/usr/bin/env python3
"""x264 and x265 at the bytes of the bundled tokenizer, clip by clip, through `reelm eval video`.

    tests/peers/video.py build/src/reelm OUT DIR... [-- options of reelm eval]
    tests/peers/video.py build/src/reelm /tmp/peers ../shared/data/video -- --split validation \\
        --perceptual ../shared/data/perceptual/squeezenet_v1.1.safetensors

Debian's ffmpeg with libx264 and libx265. Every clip is encoded from the same frames that the
tokenizer got (OUT/originals, PNG), preset veryslow, one key frame, 4:2:0, as the largest stream of a
search over CRF that is not above the tokenizer's bytes for that clip (1,280 codes of 18 bits: 2,880
bytes). Counted are the slices, without start codes: parameter sets and SEI are constant and as
little counted as the header of a token file. A row "psnr" adds -tune psnr: psycho-visual tools off,
which is better in PSNR and worse to look at."""
import os
import sys

import peers

CODECS = {  # name: encoder, extension, NAL header -> type, types that are slices
    "x264": ("libx264", "h264", lambda b: b & 31, range(1, 6)),
    "x265": ("libx265", "hevc", lambda b: b >> 1 & 63, range(0, 32)),
}
STEPS = 8  # of the search over CRF 0..51


def slice_bytes(stream, codec):
    """Bytes of the slices in an Annex B stream, start codes left out."""
    kind, slices = CODECS[codec][2:]
    total, at = 0, stream.find(b"\0\0\1")
    while at >= 0:
        begin = at + 3
        at = stream.find(b"\0\0\1", begin)
        nal = stream[begin:at if at >= 0 else len(stream)].rstrip(b"\0")
        total += len(nal) if nal and kind(nal[0]) in slices else 0
    return total


def encode(frames, codec, crf, tune):
    encoder, ext = CODECS[codec][:2]
    quiet = ["-x265-params", "log-level=none:info=0"] if codec == "x265" else []
    tuning = ["-tune", tune] if tune else []
    return peers.run("ffmpeg", "-v", "error", "-framerate", "8", "-i", f"{frames}/%03d.png",
                     "-sws_flags", "bicubic+accurate_rnd+full_chroma_int", "-pix_fmt", "yuv420p",
                     "-c:v", encoder, "-preset", "veryslow", "-crf", f"{crf:.3f}", "-g", "600",
                     "-threads", "1", *tuning, *quiet, "-f", ext, "-")


def decode(stream, codec, folder):
    os.makedirs(folder, exist_ok=True)
    peers.run("ffmpeg", "-v", "error", "-y", "-f", CODECS[codec][1], "-r", "8", "-i", "-",
              "-sws_flags", "bicubic+accurate_rnd+full_chroma_int", "-fps_mode", "passthrough",
              "-start_number", "0", f"{folder}/%03d.png", data=stream)


def search(frames, codec, budget, tune):
    """The largest stream within the budget; when even CRF 51 is above it, that one."""
    low, high = 0.0, 51.0
    best = encode(frames, codec, high, tune)
    if slice_bytes(best, codec) > budget:
        return best
    for _ in range(STEPS):
        crf = (low + high) / 2
        stream = encode(frames, codec, crf, tune)
        if slice_bytes(stream, codec) <= budget:
            best, high = stream, crf
        else:
            low = crf
    return best


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
        for tune in (None, "psnr"):
            name = codec + (f" {tune}" if tune else "")
            folder = f"{out}/{name.replace(' ', '-')}"
            sizes, above = {}, 0
            for item in own["items"]:
                flat = peers.flat(item["name"])
                stream = search(f"{out}/originals/{flat}", codec, item["bits"] // 8, tune)
                decode(stream, codec, f"{folder}/{flat}")
                sizes[flat] = slice_bytes(stream, codec)
                above += sizes[flat] > item["bits"] // 8
            peers.write_bytes(folder, sizes)
            if above:
                print(f"{name}: {above} clips stay above the budget at CRF 51", file=sys.stderr)
            rows.append((name, peers.evaluate(program, "video", inputs, f"{folder}.json",
                                              "--against", folder, "--sheet", f"{folder}.png",
                                              *options)))
    peers.table(rows, ["psnr", "ssim", "ms_ssim", "perceptual", "flicker", "bits"])


main()
