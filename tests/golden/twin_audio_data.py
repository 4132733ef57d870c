"""Files for twin_train_audio.py: weights, and sounds kept on the device, of which it draws crops.

A data folder holds index.json, a list of {"file", "kind", "lengths"}: FLAC or Ogg Opus files and the
lengths of their clips in samples of 16 kHz; kind is speech, music, effects, world or val (with
"names"). They are read by soundfile, or by ffmpeg where that is missing.
"""
import json
import math
import os
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F

try:
    import soundfile
except ImportError:
    soundfile = None

SHARES = dict(speech=0.56, music=0.16, effects=0.13, world=0.15)
SPEEDS = 0.8, 1.25  # of half of the crops


def read_tensors(path):
    """Safetensors -> {name: float32 tensor}; BF16 or F32."""
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        blob = f.read()
    out = {}
    for name, h in header.items():
        if name == "__metadata__" or h["dtype"] not in ("BF16", "F32"):
            continue
        a, b = h["data_offsets"]
        if h["dtype"] == "BF16":
            x = np.frombuffer(blob[a:b], np.uint16).astype(np.uint32) << 16
            x = x.view(np.float32)
        else:
            x = np.frombuffer(blob[a:b], np.float32)
        out[name] = torch.from_numpy(x.reshape(h["shape"]).copy())
    return out


def write_tensors(path, tensors):
    """As BF16, whole or not at all."""
    header, blobs, at = {}, [], 0
    for name, x in tensors.items():
        blob = x.detach().to("cpu", torch.bfloat16).contiguous().view(torch.int16).numpy().tobytes()
        header[name] = {"dtype": "BF16", "shape": list(x.shape),
                        "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path + ".part", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    os.replace(path + ".part", path)


class Sounds:
    """All clips in one buffer of 16-bit samples; a table of clips drawn by kind and length."""

    def __init__(self, folder, ffmpeg, device):
        with open(os.path.join(folder, "index.json")) as f:
            index = json.load(f)
        with ThreadPoolExecutor(8) as pool:
            waves = list(pool.map(lambda e: self.decode(ffmpeg, folder, e), index))
        starts, lengths, weights, at = [], [], [], 0
        total = {}
        for e in index:
            total[e["kind"]] = total.get(e["kind"], 0) + sum(e["lengths"])
        self.val, self.val_names, flat = [], [], []
        for e, wave in zip(index, waves):
            places = np.cumsum([0] + e["lengths"])
            if e["kind"] == "val":
                self.val = [wave[a:b] for a, b in zip(places, places[1:])]
                self.val_names = e.get("names", [""] * len(self.val))
                continue
            flat.append(wave)
            for a, n in zip(places, e["lengths"]):
                starts.append(at + int(a))
                lengths.append(n)
                weights.append(SHARES[e["kind"]] * n / total[e["kind"]])
            at += len(wave)
        self.flat = torch.from_numpy(np.concatenate(flat)).to(device)
        weights = np.array(weights) / sum(weights)
        rows = np.searchsorted(np.cumsum(weights), (np.arange(65536) + 0.5) / 65536)
        rows = np.minimum(rows, len(starts) - 1)
        self.starts = torch.tensor(np.array(starts)[rows], device=device)
        self.lengths = torch.tensor(np.array(lengths)[rows], device=device)
        self.device = device

    @staticmethod
    def decode(ffmpeg, folder, e):
        path, want = os.path.join(folder, e["file"]), sum(e["lengths"])
        if soundfile:
            wave, rate = soundfile.read(path, dtype="int16")
            assert rate == 16000 and wave.ndim == 1, (path, rate, wave.shape)
        else:
            run = subprocess.run([ffmpeg, "-v", "error", "-i", path, "-f", "s16le", "-ac", "1",
                                  "-ar", "16000", "-"], check=True, capture_output=True)
            wave = np.frombuffer(run.stdout, np.int16)
        assert abs(len(wave) - want) < 2000, (e["file"], len(wave), want)
        return np.concatenate([wave, np.zeros(max(0, want - len(wave)), np.int16)])[:want]

    def crops(self, n, width):
        """[n, width]: half of them at another speed, half leaning to low or high tones; gain and
        sign as in C."""
        d = self.device
        row = torch.randint(0, 65536, (n,), device=d)
        speed = torch.exp(torch.empty(n, 1, device=d).uniform_(*map(math.log, SPEEDS)))
        speed = torch.where(torch.rand(n, 1, device=d) < 0.5, torch.ones_like(speed), speed)
        place = torch.arange(width, device=d) * speed
        whole = place.floor()
        t, i = place - whole, whole.long()
        spare = (self.lengths[row] - i[:, -1] - 4).clamp(min=0)
        start = self.starts[row] + 1 + (torch.rand(n, device=d) * spare).long()
        i = (i + start[:, None]).clamp(1, self.flat.numel() - 3)
        a, b, c, e = (self.flat[i + k].float() for k in (-1, 0, 1, 2))
        x = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - e + t * (3 * (b - c) + e - a)))
        x = x / 32768
        lean = (torch.rand(n, 1, device=d) - 0.5).clamp(min=0) * 0.8
        lean = lean * (2 * (torch.rand(n, 1, device=d) < 0.5).float() - 1)
        x = (x + lean * F.pad(x, (1, 0))[:, :-1]) / (1 + lean.abs())
        peak = x.abs().amax(1, keepdim=True)
        gain = 0.95 * torch.exp(-math.log(10) * torch.rand(n, 1, device=d)) / (peak + 1e-4)
        gain = torch.where(torch.rand(n, 1, device=d) < 0.7, gain.clamp(max=30), gain * 0 + 1)
        return x * gain * (2 * (torch.rand(n, 1, device=d) < 0.5).float() - 1)
