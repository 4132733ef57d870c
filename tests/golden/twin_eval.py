#!/usr/bin/env python3
"""Independent numpy twin of the evaluation's measures: makes tests/golden/eval.safetensors.

    python3 tests/golden/twin_eval.py [SQUEEZENET_V1.1.safetensors]

Everything is written in the plainest way (two-dimensional windows, loops over taps, numpy.fft), not
like the C code. With the weights of SqueezeNet the perceptual distance of the real network is
stored too; always stored is that of a network whose weights both sides make from a counter."""
import json
import struct
import sys

import numpy as np


def write_safetensors(path, tensors):
    names = {np.dtype("float32"): "F32", np.dtype("uint8"): "U8", np.dtype("float64"): "F64"}
    header, data = {}, b""
    for name, x in tensors.items():
        raw = np.ascontiguousarray(x).tobytes()
        header[name] = {"dtype": names[x.dtype], "shape": list(x.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def read_safetensors(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    out = {}
    for name, t in json.loads(raw[8:8 + n]).items():
        if name == "__metadata__":
            continue
        a, b = t["data_offsets"]
        kind = {"F16": np.float16, "F32": np.float32}[t["dtype"]]
        out[name] = np.frombuffer(raw[8 + n + a:8 + n + b], kind).reshape(t["shape"]).astype(np.float64)
    return out


# ---- Pictures ----

def psnr(a, b):
    return 10 * np.log10(255.0 ** 2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


def luma(x):
    return x.astype(float) @ np.array([0.299, 0.587, 0.114])


def ssim_maps(x, y):
    g = np.exp(-(np.arange(11) - 5.0) ** 2 / (2 * 1.5 ** 2))
    g = np.outer(g, g) / g.sum() ** 2
    h, w = x.shape[0] - 10, x.shape[1] - 10

    def blur(z):
        return sum(g[i, j] * z[i:i + h, j:j + w] for i in range(11) for j in range(11))
    mx, my = blur(x), blur(y)
    xx, yy, xy = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    c1, c2 = 2.55 ** 2, 7.65 ** 2
    cs = (2 * xy + c2) / (xx + yy + c2)
    return (2 * mx * my + c1) / (mx * mx + my * my + c1) * cs, cs


def structure(a, b):
    ssim, ms = [], []
    for x, y in zip(luma(a), luma(b)):
        terms = []
        while len(terms) < 5 and min(x.shape) >= 11:
            whole, cs = ssim_maps(x, y)
            terms.append((whole.mean(), cs.mean()))
            h, w = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
            x, y = (z[:h, :w].reshape(h // 2, 2, w // 2, 2).mean((1, 3)) for z in (x, y))
        weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])[:len(terms)]
        values = [max(t[1], 0) for t in terms[:-1]] + [max(terms[-1][0], 0)]
        ssim.append(terms[0][0])
        ms.append(np.prod(np.array(values) ** (weights / weights.sum())))
    return np.mean(ssim), np.mean(ms)


def flicker(a, b):
    return np.mean(np.abs(np.diff(luma(b), axis=0) - np.diff(luma(a), axis=0)))


# ---- SqueezeNet ----

SQUEEZE = {2: 16, 3: 16, 4: 32, 5: 32, 6: 48, 7: 48, 8: 64, 9: 64}
EXPAND = {2: 64, 3: 64, 4: 128, 5: 128, 6: 192, 7: 192, 8: 256, 9: 256}


def counted_weights():
    """Weight i of a tensor: a hash of its name's length, last letters and i, small enough to keep
    activations in range; tests/golden/test_golden_eval.c makes the same."""
    shapes = {"conv1": (64, 3, 3, 3)}
    inputs = 64
    for f in range(2, 10):
        shapes[f"fire{f}.squeeze1x1"] = (SQUEEZE[f], inputs, 1, 1)
        shapes[f"fire{f}.expand1x1"] = (EXPAND[f], SQUEEZE[f], 1, 1)
        shapes[f"fire{f}.expand3x3"] = (EXPAND[f], SQUEEZE[f], 3, 3)
        inputs = 2 * EXPAND[f]
    out = {}
    for number, (name, shape) in enumerate(shapes.items()):
        n = int(np.prod(shape))
        i = np.arange(n, dtype=np.uint64)
        u = ((i * np.uint64(2654435761) + np.uint64(977 * number)) % np.uint64(65521)).astype(float)
        fan = n // shape[0]
        out[name + ".weight"] = ((u / 65521 - 0.5) * 2 * np.sqrt(6 / fan)).astype(np.float32).astype(float).reshape(shape)
        out[name + ".bias"] = (((np.arange(shape[0]) * 7 + number) % 11 - 5) / 50).astype(np.float32).astype(float)
    return out


def conv(x, w, b, stride=1, pad=0):
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    k = w.shape[2]
    h, v = (x.shape[1] - k) // stride + 1, (x.shape[2] - k) // stride + 1
    y = np.zeros((w.shape[0], h, v)) + b[:, None, None]
    for i in range(k):
        for j in range(k):
            part = x[:, i:i + stride * h:stride, j:j + stride * v:stride]
            y += np.tensordot(w[:, :, i, j], part, 1)
    return np.maximum(y, 0)


def pool(x):
    h, w = (-(-(n - 3) // 2) + 1 for n in x.shape[1:])
    return np.stack([np.stack([x[:, 2 * i:2 * i + 3, 2 * j:2 * j + 3].max((1, 2)) for j in range(w)], -1)
                     for i in range(h)], 1)


def features(net, picture):
    x = picture[:, :, ::-1].astype(float).transpose(2, 0, 1) - np.array([104., 117, 123])[:, None, None]
    x = conv(x, net["conv1.weight"], net["conv1.bias"], 2)
    out = [x]
    for f in range(2, 10):
        if f in (2, 4, 6):
            x = pool(x)
        s = conv(x, net[f"fire{f}.squeeze1x1.weight"], net[f"fire{f}.squeeze1x1.bias"])
        x = np.concatenate([conv(s, net[f"fire{f}.expand1x1.weight"], net[f"fire{f}.expand1x1.bias"]),
                            conv(s, net[f"fire{f}.expand3x3.weight"], net[f"fire{f}.expand3x3.bias"], 1, 1)])
        out.append(x)
    return out


def perceptual(net, a, b):
    total = 0
    for x, y in zip(a, b):
        for p, q in zip(features(net, x), features(net, y)):
            p, q = (z / (np.sqrt((z * z).sum(0)) + 1e-10) for z in (p, q))
            total += ((p - q) ** 2).sum(0).mean()
    return total / len(a)


# ---- Sound ----

def si_sdr(x, y):
    a = (x @ y) / (x @ x)
    return 10 * np.log10(((a * x) ** 2).sum() / ((y - a * x) ** 2).sum())


def magnitudes(x, window):
    """Frames centred on multiples of window / 4; 1 for a sine of amplitude 1."""
    hop = window // 4
    padded = np.concatenate([np.zeros(window // 2), x, np.zeros(window)])
    frames = np.stack([padded[i * hop:i * hop + window] for i in range(len(x) // hop + 1)])
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    return np.abs(np.fft.rfft(frames * hann)) * 2 / hann.sum()


def mel_levels(x, rate=16000):
    mag = magnitudes(x, 1024)
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), 82) / 2595) - 1)
    hz = np.fft.rfftfreq(1024, 1 / rate)
    bank = np.stack([np.maximum(0, np.minimum((hz - l) / (c - l), (r - hz) / (r - c)))
                     for l, c, r in zip(edges, edges[1:], edges[2:])])
    return 20 * np.log10(np.maximum(mag @ bank.T, 1e-4))


def log_mel(x, y):
    return np.abs(mel_levels(x) - mel_levels(y)).mean()


def stft(x, y):
    total = 0
    for window in (256, 512, 1024, 2048):
        p, q = magnitudes(x, window), magnitudes(y, window)
        total += np.linalg.norm(p - q) / np.linalg.norm(p)
        total += np.abs(np.log(np.maximum(p, 1e-4) / np.maximum(q, 1e-4))).mean()
    return total / 4


# ---- The fixture ----

def pictures():
    """Three frames of 57 x 70: shapes that move, and a blurred, shifted, noisy copy."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:57, 0:70].astype(float)
    a = []
    for t in range(3):
        base = 128 + 60 * np.sin(x / 5 + t) * np.cos(y / 7) + 50 * (((x - 20 - 6 * t) ** 2 + (y - 30) ** 2) < 120)
        a.append(np.stack([base, 0.7 * base + x, 200 - 0.8 * base + 10 * np.sin(y + t)], -1))
    a = np.array(a)
    b = (a + np.roll(a, 1, 2) + np.roll(a, 1, 1)) / 3 + rng.normal(0, 6, a.shape) - 4
    return tuple(np.clip(np.round(z), 0, 255).astype(np.uint8) for z in (a, b))


def sounds():
    """A third of a second: a chirp with an echo, and a delayed, noisy, duller copy."""
    rng = np.random.default_rng(8)
    t = np.arange(5321) / 16000
    x = 0.4 * np.sin(2 * np.pi * (200 * t + 3000 * t * t)) * np.exp(-3 * t) + rng.normal(0, 0.003, t.size)
    y = 0.8 * x + 0.1 * np.roll(x, 3) + rng.normal(0, 0.01, t.size)
    return x.astype(np.float32), y.astype(np.float32)


def main():
    a, b = pictures()
    x, y = sounds()
    out = {"a": a, "b": b, "x": x, "y": y}
    values = {"psnr": psnr(a, b), "flicker": flicker(a, b),
              "perceptual_counted": perceptual(counted_weights(), a, b)}
    x, y = x.astype(float), y.astype(float)
    values.update(si_sdr=si_sdr(x, y), log_mel=log_mel(x, y), stft=stft(x, y))
    values["ssim"], values["ms_ssim"] = structure(a, b)
    if len(sys.argv) > 1:
        values["perceptual"] = perceptual(read_safetensors(sys.argv[1]), a, b)
    for name, v in values.items():
        print(f"{name} {v:.8f}")
        out["golden." + name] = np.array([v], np.float32)
    write_safetensors("tests/golden/eval.safetensors", out)


main()
