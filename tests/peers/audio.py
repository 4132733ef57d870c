#!/usr/bin/env python3
"""Opus at 6 kbit/s and codec2 at 2.4 kbit/s through `reelm eval audio`.

    tests/peers/audio.py build/src/reelm OUT DIR... [-- options of reelm eval]
    tests/peers/audio.py build/src/reelm /tmp/peers ../shared/data/audio -- --split validation

Debian's opus-tools, codec2 and ffmpeg (resampling). Opus: opusenc --bitrate 6 at its defaults
(20 ms, VBR), bytes of the audio packets without Ogg's pages. codec2: 2400, 8 kHz; its constant delay
is found once over all files (largest correlation of envelopes) and taken out. Both get the files of
OUT/originals (16 kHz mono) and are cut or padded to their length."""
import array
import os
import sys
import wave

import peers

REACH_MS = 80  # of the search for a delay


def read_wav(path):
    with wave.open(path) as w:
        if w.getsampwidth() != 2 or w.getnchannels() != 1:
            sys.exit(f"{path}: 16-bit mono is expected")
        return array.array("h", w.readframes(w.getnframes()))


def write_wav(path, samples, rate=16000):
    with wave.open(path, "wb") as w:
        w.setparams((1, 2, rate, 0, "NONE", ""))
        w.writeframes(samples.tobytes())


def fit(samples, count):
    return (samples + array.array("h", bytes(2 * count)))[:count]


def packet_bytes(ogg):
    """Bytes of the packets of an Ogg stream behind the two headers."""
    at, sizes, open_packet = 0, [], 0
    while at < len(ogg):
        lacing = ogg[at + 27:at + 27 + ogg[at + 26]]
        for value in lacing:
            open_packet += value
            if value < 255:
                sizes.append(open_packet)
                open_packet = 0
        at += 27 + len(lacing) + sum(lacing)
    return sum(sizes[2:])


def opus(source, to):
    coded = peers.run("opusenc", "--quiet", "--bitrate", "6", source, "-")
    with open(f"{to}.opus", "wb") as f:
        f.write(coded)
    peers.run("opusdec", "--quiet", "--rate", "16000", f"{to}.opus", f"{to}.wav")
    return packet_bytes(coded), read_wav(f"{to}.wav")


def codec2(source, to):
    raw = peers.run("ffmpeg", "-v", "error", "-i", source, "-ar", "8000", "-f", "s16le", "-")
    coded = peers.run("c2enc", "2400", "-", "-", data=raw + bytes(640))
    back = peers.run("c2dec", "2400", "-", "-", data=coded)
    up = peers.run("ffmpeg", "-v", "error", "-f", "s16le", "-ar", "8000", "-ac", "1", "-i", "-",
                   "-ar", "16000", "-f", "s16le", "-", data=back)
    return len(coded), array.array("h", up)


def envelope(samples):
    """Mean magnitude a millisecond."""
    return [sum(map(abs, samples[i:i + 16])) / 16 for i in range(0, len(samples) - 15, 16)]


def delay_ms(pairs):
    """By how much the second of each pair lags, the same for all."""
    scores = [0.0] * (REACH_MS + 1)
    for a, b in pairs:
        a, b = envelope(a), envelope(b)
        mean = sum(a) / max(1, len(a))
        a = [v - mean for v in a]
        scale = sum(v * v for v in a) + 1
        for lag in range(REACH_MS + 1):
            scores[lag] += sum(x * y for x, y in zip(a, b[lag:])) / scale
    return max(range(REACH_MS + 1), key=lambda lag: scores[lag])


def main():
    args, options = sys.argv[1:], []
    if "--" in args:
        options = args[args.index("--") + 1:]
        args = args[:args.index("--")]
    program, out, inputs = args[0], args[1], args[2:]
    os.makedirs(out, exist_ok=True)
    own = peers.evaluate(program, "audio", inputs, f"{out}/reelm.json", "--keep", out, "--sheet",
                         f"{out}/reelm.png", *options)
    names = [peers.flat(item["name"]) for item in own["items"]]
    originals = {name: read_wav(f"{out}/originals/{name}.wav") for name in names}
    rows = [("reelm", own)]
    for label, code in (("opus-6", opus), ("codec2-2.4", codec2)):
        folder = f"{out}/{label}"
        os.makedirs(folder, exist_ok=True)
        sizes, made = {}, {}
        for name in names:
            sizes[name], made[name] = code(f"{out}/originals/{name}.wav", f"{folder}/{name}")
        lag = delay_ms([(originals[n], made[n]) for n in names]) if code is codec2 else 0
        print(f"{label}: delay of {lag} ms taken out", file=sys.stderr)
        for name in names:
            write_wav(f"{folder}/{name}.wav", fit(made[name][lag * 16:], len(originals[name])))
        peers.write_bytes(folder, sizes)
        rows.append((label, peers.evaluate(program, "audio", inputs, f"{folder}.json", "--against",
                                           folder, "--sheet", f"{folder}.png", *options)))
    peers.table(rows, ["si_sdr", "log_mel", "stft", "bits_per_second"])


main()
