"""Independent NumPy twin of tokenizers/audio_*.c: the same names, layouts and arithmetic, in double.

Sound is [n, w, c], channels last. Weights are [cout, 1, 1, kw, cin]. Run as a program it writes the
golden fixture: python twin_audio.py OUT.safetensors
"""
import json
import math
import struct
import sys

import numpy as np

DEFAULT = dict(rate=16000, channels=192, decoder_channels=224, max_channels=224, stem=80,
               strides=[4], window=512, synthesis=3, middle=1, unit_kernel=3, units=3, dim=64,
               levels=4, codes=1024)
PAPER = dict(rate=16000, channels=32, decoder_channels=32, max_channels=0, stem=1,
             strides=[2, 4, 5, 8], window=0, synthesis=0, middle=0, unit_kernel=3, units=3, dim=256,
             levels=4, codes=1024)
TINY = dict(rate=16000, channels=16, decoder_channels=24, max_channels=24, stem=40, strides=[4, 2],
            window=64, synthesis=3, middle=1, unit_kernel=3, units=2, dim=16, levels=4, codes=64)

rng = np.random.default_rng(7)


def to_bf16(x):
    """Rounded to bfloat16, to nearest even, as float32."""
    u = x.astype(np.float32).view(np.uint32)
    return ((u + 0x7fff + ((u >> 16) & 1)) & 0xffff0000).astype(np.uint32).view(np.float32)


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def silu(x):
    return x / (1 + np.exp(-x))


class Net:
    """Parameters by name, made on first use; a second pass finds them."""

    def __init__(self, c):
        self.c, self.p = c, {}

    def conv(self, name, x, cout, k, dilation=1, scale=1.0, weight=None):
        """Causal dilated convolution along w."""
        n, w, cin = x.shape
        if name + ".weight" not in self.p:
            if weight is None:
                weight = rng.standard_normal((cout, 1, 1, k, cin)) * scale / math.sqrt(k * cin)
                self.p[name + ".bias"] = to_bf16(0.1 * rng.standard_normal(cout))
            self.p[name + ".weight"] = to_bf16(weight)
        x = np.concatenate([np.zeros((n, (k - 1) * dilation, cin)), x], 1)
        x = np.concatenate([x[:, i * dilation:i * dilation + w] for i in range(k)], 2)
        y = x @ self.p[name + ".weight"].reshape(cout, -1).T.astype(float)
        return y + self.p[name + ".bias"] if name + ".bias" in self.p else y

    def unit(self, name, x, dilation):
        c = x.shape[2]
        h = self.conv(name + ".conv0", elu(x), c, self.c["unit_kernel"], dilation)
        return x + self.conv(name + ".conv1", elu(h), c, 1, scale=0.5)

    def units(self, name, x, count):
        for i in range(count):
            x = self.unit(name + str(i), x, 3 ** (i % 4))
        return x

    def width(self, first, depth):
        w, most = first << depth, self.c["max_channels"]
        return min(w, most) if most else w

    def frames(self, wave):
        """[n, w] -> frames of `stem` samples, levelled and with their log spectra if window > 0."""
        c, (n, w) = self.c, wave.shape
        hop, window = c["stem"], c["window"]
        if not window:
            return wave.reshape(n, w // hop, hop)
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
        padded = np.concatenate([np.zeros((n, window)), wave], 1)
        out = []
        for f in range(w // hop):
            x = padded[:, (f + 1) * hop:(f + 1) * hop + window]
            level = np.sqrt((x * x).mean(1, keepdims=True) + 1e-5)
            power = np.abs(np.fft.rfft(hann * x)[:, 1:]) ** 2 / (hann * hann).sum()
            out.append(np.concatenate([x[:, -hop:] / level, np.log(power + 1e-6) / 4 + 1.75], 1))
        return np.stack(out, 1)

    def encode(self, wave):
        c = self.c
        x = self.frames(wave)
        x = self.conv("encoder.stem", x, self.width(c["channels"], 0), 7 if c["stem"] == 1 else 3)
        for i, s in enumerate(c["strides"]):
            x = elu(self.units("encoder.stage%d.unit" % i, x, c["units"]))
            n, w, ch = x.shape
            x = self.conv("encoder.stage%d.down" % i, x.reshape(n, w // s, ch * s),
                          self.width(c["channels"], i + 1), 2)
        x = self.units("encoder.middle", x, c["middle"])
        return self.conv("encoder.out", x, c["dim"], 3)

    def inverse_weight(self):
        """[stem, 1, 1, K, lines]: windowed cosines and sines, the newest frame last."""
        taps, hop = self.c["synthesis"], self.c["stem"]
        lines = taps * hop
        at = np.arange(lines)[:, None]
        angle = 2 * np.pi * at * np.arange(lines // 2)[None] / lines
        basis = np.stack([np.cos(angle), np.sin(angle)], 2).reshape(lines, lines)
        basis *= 0.5 - 0.5 * np.cos(2 * np.pi * (at + 0.5) / lines)
        basis *= 0.1 / math.sqrt(0.375 * taps * lines / 2)
        return np.flip(basis.reshape(taps, hop, lines), 0).transpose(1, 0, 2)[:, None, None]

    def decode(self, z):
        c = self.c
        x = self.conv("decoder.stem", z, self.width(c["decoder_channels"], len(c["strides"])), 7)
        x = self.units("decoder.middle", x, c.get("decoder_middle") or c["middle"])
        for i, s in reversed(list(enumerate(c["strides"]))):
            width = self.width(c["decoder_channels"], i)
            x = self.conv("decoder.stage%d.up" % i, elu(x), s * width, 2)
            x = x.reshape(x.shape[0], x.shape[1] * s, width)
            x = self.units("decoder.stage%d.unit" % i, x, c.get("decoder_units") or c["units"])
        lines = c["stem"] * c["synthesis"]
        if not lines:
            return self.conv("decoder.out", elu(x), c["stem"], 7 if c["stem"] == 1 else 3)
        x = self.conv("decoder.out", elu(x), 2 * lines, 1)
        x = silu(x[..., :lines]) * x[..., lines:]
        return self.conv("decoder.synthesis", x, c["stem"], c["synthesis"],
                         weight=self.inverse_weight())

    def quantise(self, x):
        """x [rows, dim] -> ids [levels, rows], quantised [rows, dim]."""
        ids, out = [], np.zeros_like(x)
        for book in self.p["rvq.books"].astype(float):
            i = ((x - out)[:, None] - book[None]).__pow__(2).sum(2).argmin(1)
            out = out + book[i]
            ids.append(i)
        return np.stack(ids), out


def save(path, tensors):
    """Safetensors: a JSON header with offsets, then the bytes."""
    kinds = {np.dtype("float32"): "F32", np.dtype("int32"): "I32"}
    header, blobs, at = {}, [], 0
    for name, x in tensors.items():
        blob = np.ascontiguousarray(x).tobytes()
        header[name] = {"dtype": kinds[x.dtype], "shape": list(x.shape),
                        "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def main():
    m = Net(TINY)
    wave = to_bf16(0.4 * np.sin(0.1 * rng.standard_normal((1, 3200)).cumsum(1)))
    latent = m.encode(wave.astype(float))
    books = rng.standard_normal((TINY["levels"], TINY["codes"], TINY["dim"])) * latent.std()
    m.p["rvq.books"] = (books * 0.5 ** np.arange(TINY["levels"])[:, None, None]).astype(np.float32)
    ids, quantised = m.quantise(latent[0].astype(np.float32).astype(float))
    out = m.decode(quantised[None])
    t = {k: v.astype(np.float32) for k, v in m.p.items()}
    t.update({"golden.wave": wave, "golden.latent": latent.astype(np.float32),
              "golden.ids": ids.astype(np.int32), "golden.quantised": quantised.astype(np.float32),
              "golden.out": out.reshape(1, -1).astype(np.float32)})
    save(sys.argv[1], t)


if __name__ == "__main__":
    for c in (PAPER, DEFAULT, TINY):
        m = Net(c)
        z = m.encode(np.zeros((1, 6400)))
        m.decode(z)
        print(sum(p.size for p in m.p.values()), c["levels"] * c["codes"] * c["dim"],
              file=sys.stderr)
    rng = np.random.default_rng(7)
    main()
