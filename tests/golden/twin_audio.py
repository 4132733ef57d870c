"""Independent PyTorch twin of tokenizers/audio_*.c: the same names, layouts and arithmetic.

Sound is [n, w, c], channels last. Weights are [cout, 1, 1, kw, cin]. Run as a program it writes the
golden fixture: python twin_audio.py OUT.safetensors
"""
import math
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

DEFAULT = dict(rate=16000, channels=64, decoder_channels=96, max_channels=192, stem=8,
               strides=[5, 8], unit_kernel=3, units=3, dim=128, levels=4, codes=1024)
PAPER = dict(rate=16000, channels=32, decoder_channels=32, max_channels=0, stem=1,
             strides=[2, 4, 5, 8], unit_kernel=3, units=3, dim=256, levels=4, codes=1024)
TINY = dict(rate=16000, channels=8, decoder_channels=12, max_channels=24, stem=8,
            strides=[5, 8], unit_kernel=3, units=2, dim=16, levels=4, codes=64)


class Conv(nn.Module):
    """Causal dilated convolution along w."""

    def __init__(self, cin, cout, k, dilation=1, scale=1.0):
        super().__init__()
        self.k, self.dilation = k, dilation
        self.weight = nn.Parameter(torch.randn(cout, 1, 1, k, cin) * scale / math.sqrt(k * cin))
        self.bias = nn.Parameter(torch.zeros(cout))

    def forward(self, x):
        w = self.weight.flatten(1)
        if self.k > 1:
            n = x.shape[1]
            x = F.pad(x, (0, 0, (self.k - 1) * self.dilation, 0))
            x = torch.cat([x[:, i * self.dilation:i * self.dilation + n] for i in range(self.k)], 2)
        return F.linear(x, w, self.bias)


class Unit(nn.Module):
    def __init__(self, c, k, dilation):
        super().__init__()
        self.conv0 = Conv(c, c, k, dilation)
        self.conv1 = Conv(c, c, 1, scale=0.5)

    def forward(self, x):
        return x + self.conv1(F.elu(self.conv0(F.elu(x))))


def widths(c, first):
    out = [first << i for i in range(len(c["strides"]) + 1)]
    return [min(w, c["max_channels"]) if c["max_channels"] else w for w in out]


class Stage(nn.Module):
    """Encoder: units then `down`; decoder: `up` then units."""

    def __init__(self, c, narrow, wide, stride, encoder):
        super().__init__()
        self.stride, self.encoder = stride, encoder
        for i in range(c["units"]):
            setattr(self, "unit%d" % i, Unit(narrow, c["unit_kernel"], 3 ** i))
        self.units = c["units"]
        if encoder:
            self.down = Conv(stride * narrow, wide, 2)
        else:
            self.up = Conv(wide, stride * narrow, 2)

    def forward(self, x):
        if not self.encoder:
            n, w, _ = x.shape
            x = self.up(F.elu(x)).reshape(n, w * self.stride, -1)
        for i in range(self.units):
            x = getattr(self, "unit%d" % i)(x)
        if self.encoder:
            n, w, ch = x.shape
            x = self.down(F.elu(x).reshape(n, w // self.stride, ch * self.stride))
        return x


class Encoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        wd = widths(c, c["channels"])
        self.c = c
        self.stem = Conv(c["stem"], wd[0], 7 if c["stem"] == 1 else 3)
        for i, s in enumerate(c["strides"]):
            setattr(self, "stage%d" % i, Stage(c, wd[i], wd[i + 1], s, True))
        self.out = Conv(wd[-1], c["dim"], 3)

    def forward(self, wave):
        n, w = wave.shape
        x = self.stem(wave.reshape(n, w // self.c["stem"], self.c["stem"]))
        for i in range(len(self.c["strides"])):
            x = getattr(self, "stage%d" % i)(x)
        return self.out(x)


class Decoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        wd = widths(c, c["decoder_channels"])
        self.c = c
        self.stem = Conv(c["dim"], wd[-1], 7)
        for i, s in enumerate(c["strides"]):
            setattr(self, "stage%d" % i, Stage(c, wd[i], wd[i + 1], s, False))
        self.out = Conv(wd[0], c["stem"], 7 if c["stem"] == 1 else 3)

    def forward(self, z):
        x = self.stem(z)
        for i in reversed(range(len(self.c["strides"]))):
            x = getattr(self, "stage%d" % i)(x)
        return self.out(F.elu(x)).flatten(1)


class Rvq(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.register_buffer("books", torch.zeros(c["levels"], c["codes"], c["dim"]))

    @torch.no_grad()
    def quantise(self, x, use=None):
        """x [rows, dim] -> ids [levels, rows], quantised [rows, dim]."""
        ids, out = [], torch.zeros_like(x)
        for q in range(use or self.books.shape[0]):
            b = self.books[q]
            r = x - out
            i = (b.pow(2).sum(1)[None] - 2 * r @ b.T).argmin(1)
            out = out + b[i]
            ids.append(i)
        return torch.stack(ids), out


class Audio(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.encoder = Encoder(c)
        self.decoder = Decoder(c)
        self.rvq = Rvq(c)


def main():
    from safetensors.torch import save_file
    torch.manual_seed(7)
    m = Audio(TINY)
    for name, p in m.named_parameters():
        p.data = p.data.bfloat16().float()
    wave = 0.4 * torch.randn(1, 1600).cumsum(1).mul(0.1).sin()
    with torch.no_grad():
        latent = m.encoder(wave)
        m.rvq.books.normal_().mul_(latent.std())
        for q in range(1, TINY["levels"]):
            m.rvq.books[q] *= 0.5 ** q
        ids, quantised = m.rvq.quantise(latent.flatten(0, 1))
        out = m.decoder(quantised[None])
    t = {k: v for k, v in m.state_dict().items()}
    t.update({"golden.wave": wave, "golden.latent": latent, "golden.ids": ids.int(),
              "golden.quantised": quantised, "golden.out": out})
    save_file({k: v.contiguous() for k, v in t.items()}, sys.argv[1])


if __name__ == "__main__":
    for c in (PAPER, DEFAULT, TINY):
        m = Audio(c)
        print([sum(p.numel() for p in q.parameters()) for q in (m.encoder, m.decoder)],
              m.rvq.books.numel(), file=sys.stderr)
    main()
