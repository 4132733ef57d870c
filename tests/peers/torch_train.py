"""Training steps of the same networks and shapes in PyTorch, bf16, beside `reelm bench`.

    python3 tests/peers/torch_train.py [--threads 2] [--dtype bf16|f32] [lm] [lm300m] [video] [audio]

Forward, backward and an AdamW step on random data, with the layers that PyTorch has: the medians are
what a PyTorch user of this machine would wait. It uses whichever torch is installed and skips (exit
77) where there is none. Weights are f32, arithmetic under autocast in bf16, convolutions channels
last; --dtype f32 for processors without bf16. Differences that favour PyTorch: AdamW instead of Muon,
causal attention instead of a bidirectional prefix, one video head instead of two.
"""
import argparse
import statistics
import sys
import time

try:
    import torch
    import torch.nn as nn
    import torch.nn.functional as F
except ImportError:
    print("torch is not installed: skipped")
    sys.exit(77)


class RMSNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.gain


class Block(nn.Module):
    """Pre-norm attention with QK norm and rotation, then SwiGLU."""

    def __init__(self, dim, heads, ffn):
        super().__init__()
        self.heads, self.dim = heads, dim // heads
        self.norm0, self.norm1 = RMSNorm(dim), RMSNorm(dim)
        self.q_norm, self.k_norm = RMSNorm(self.dim), RMSNorm(self.dim)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        self.up = nn.Linear(dim, 2 * ffn, bias=False)
        self.down = nn.Linear(ffn, dim, bias=False)

    def rotate(self, x, cos, sin):
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)

    def forward(self, x, cos, sin):
        batch, length, dim = x.shape
        split = self.qkv(self.norm0(x)).view(batch, length, 3, self.heads, self.dim)
        q, k, v = split.permute(2, 0, 3, 1, 4)
        q = self.rotate(self.q_norm(q), cos, sin).to(v.dtype)
        k = self.rotate(self.k_norm(k), cos, sin).to(v.dtype)
        if hasattr(F, "scaled_dot_product_attention"):
            a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            score = q @ k.transpose(-1, -2) * self.dim**-0.5
            mask = torch.ones(length, length, dtype=torch.bool).triu(1)
            a = score.masked_fill(mask, float("-inf")).softmax(-1).to(v.dtype) @ v
        x = x + self.out(a.transpose(1, 2).reshape(batch, length, dim))
        gate, up = self.up(self.norm1(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class LanguageModel(nn.Module):
    def __init__(self, layers, dim, heads, ffn):
        super().__init__()
        self.lo, self.hi = nn.Embedding(512, dim), nn.Embedding(512, dim)
        self.blocks = nn.ModuleList(Block(dim, heads, ffn) for _ in range(layers))
        self.norm = RMSNorm(dim)
        self.head_lo, self.head_hi = nn.Linear(dim, 512, bias=False), nn.Linear(dim, 512, bias=False)
        self.half = dim // heads // 2

    def forward(self, lo, hi):
        length = lo.shape[1]
        freq = 10000.0 ** (-torch.arange(self.half) / self.half)
        angle = torch.arange(length)[:, None] * freq
        x = self.lo(lo) + self.hi(hi)
        for block in self.blocks:
            x = block(x, angle.cos(), angle.sin())
        x = self.norm(x)
        return self.head_lo(x), self.head_hi(x)


def causal(x, conv):
    """Zeros in front of time, half and half in space."""
    kt, kh, kw = conv.kernel_size
    x = F.pad(x, (kw // 2, kw // 2, kh // 2, kh // 2, kt - 1, 0))
    return conv(x)


class GroupNorm(nn.GroupNorm):
    """In f32 where PyTorch (1.13) has no group norm in bf16 on CPUs."""

    def forward(self, x):
        return super().forward(x.float() if torch.__version__ < "2" else x)


class VideoBlock(nn.Module):
    """norm - 1x3x3 - norm - 3x1x1, plus the input."""

    def __init__(self, cin, cout):
        super().__init__()
        self.norm0, self.norm1 = GroupNorm(8, cin), GroupNorm(8, cout)
        self.conv0 = nn.Conv3d(cin, cout, (1, 3, 3), bias=False)
        self.conv1 = nn.Conv3d(cout, cout, (3, 1, 1), bias=False)
        self.skip = nn.Conv3d(cin, cout, 1, bias=False) if cin != cout else nn.Identity()

    def forward(self, x):
        h = causal(F.silu(self.norm0(x)), self.conv0)
        return self.skip(x) + causal(F.silu(self.norm1(h)), self.conv1)


class Video(nn.Module):
    """The default tokenizer between its wavelets: 192 coefficients in, 192 out, 18 bits between."""

    def __init__(self):
        super().__init__()
        a, b = 96, 256
        self.stem = nn.Conv3d(192, a, (1, 3, 3))
        self.enc0 = nn.ModuleList(VideoBlock(a, a) for _ in range(4))
        self.down = nn.Conv3d(a, a, (1, 3, 3), stride=(1, 2, 2))
        self.enc1 = nn.ModuleList([VideoBlock(a, b), VideoBlock(b, b), VideoBlock(b, b)])
        self.enc_norm, self.bits = GroupNorm(8, b), nn.Conv3d(b, 18, 1)
        self.dec_stem = nn.Conv3d(18, b, (1, 3, 3))
        self.ada = nn.ModuleList([nn.Conv3d(18, 2 * b, 1), nn.Conv3d(18, 2 * a, 1)])
        self.ada_norm = nn.ModuleList([GroupNorm(8, b, affine=False),
                                       GroupNorm(8, a, affine=False)])
        self.dec1 = nn.ModuleList([VideoBlock(b, b), VideoBlock(b, b), VideoBlock(b, b)])
        self.up = nn.Conv3d(b, 4 * a, 1)
        self.dec0 = nn.ModuleList(VideoBlock(a, a) for _ in range(4))
        self.dec_norm, self.out = GroupNorm(8, a), nn.Conv3d(a, 192, (1, 3, 3))

    def modulate(self, i, x, q):
        gamma, beta = self.ada[i](q).chunk(2, 1)
        if i:
            gamma = F.interpolate(gamma, scale_factor=(1, 2, 2))
            beta = F.interpolate(beta, scale_factor=(1, 2, 2))
        return self.ada_norm[i](x) * (1 + gamma) + beta

    def forward(self, x):
        x = causal(x, self.stem)
        for block in self.enc0:
            x = block(x)
        x = causal(x, self.down)
        for block in self.enc1:
            x = block(x)
        z = self.bits(F.silu(self.enc_norm(x)))
        q = z + (z.sign() - z).detach()
        x = self.modulate(0, causal(q, self.dec_stem), q)
        for block in self.dec1:
            x = block(x)
        n, c, t, h, w = (x := self.up(x)).shape
        x = x.view(n, 2, 2, c // 4, t, h, w).permute(0, 3, 4, 5, 1, 6, 2)
        x = self.modulate(1, x.reshape(n, c // 4, t, 2 * h, 2 * w), q)
        for block in self.dec0:
            x = block(x)
        return causal(F.silu(self.dec_norm(x)), self.out)


class Unit(nn.Module):
    def __init__(self, c, dilation):
        super().__init__()
        self.pad = 2 * dilation
        self.conv0 = nn.Conv1d(c, c, 3, dilation=dilation)
        self.conv1 = nn.Conv1d(c, c, 1)

    def forward(self, x):
        h = self.conv0(F.pad(F.elu(x), (self.pad, 0)))
        return x + self.conv1(F.elu(h))


class Audio(nn.Module):
    """The default codec without its quantiser: frames of 8 samples, strides 5 and 8, 128 values."""

    def __init__(self):
        super().__init__()
        self.enc = nn.ModuleList()
        self.dec = nn.ModuleList()
        self.stem = nn.Conv1d(8, 64, 3)
        for c, s, after in ((64, 5, 128), (128, 8, 192)):
            self.enc.append(nn.ModuleList([Unit(c, d) for d in (1, 3, 9)]
                                          + [nn.Conv1d(s * c, after, 2)]))
        self.latent, self.wide = nn.Conv1d(192, 128, 3), nn.Conv1d(128, 192, 7)
        for before, s, c in ((192, 8, 192), (192, 5, 96)):
            self.dec.append(nn.ModuleList([nn.Conv1d(before, s * c, 2)]
                                          + [Unit(c, d) for d in (1, 3, 9)]))
        self.out = nn.Conv1d(96, 8, 3)

    def run(self, conv, x):
        return conv(F.pad(x, (conv.kernel_size[0] - 1, 0)))

    def forward(self, x):
        x = self.run(self.stem, x)
        for (*units, down), s in zip(self.enc, (5, 8)):
            for unit in units:
                x = unit(x)
            n, c, w = x.shape
            x = F.elu(x).view(n, c, w // s, s).transpose(2, 3).reshape(n, c * s, w // s)
            x = self.run(down, x)
        x = self.run(self.wide, self.run(self.latent, x))
        for (up, *units), s in zip(self.dec, (8, 5)):
            x = self.run(up, F.elu(x))
            n, c, w = x.shape
            x = x.view(n, c // s, s, w).transpose(2, 3).reshape(n, c // s, w * s)
            for unit in units:
                x = unit(x)
        return self.run(self.out, F.elu(x))


def language_step(model, batch, length):
    lo, hi = torch.randint(512, (batch, length)), torch.randint(512, (batch, length))

    def loss():
        a, b = model(lo, hi)
        return (F.cross_entropy(a.flatten(0, 1).float(), lo.flatten())
                + F.cross_entropy(b.flatten(0, 1).float(), hi.flatten()))
    return loss


def reconstruction_step(model, x):
    return lambda: F.mse_loss(model(x).float(), x)


def measure(name, model, loss, units, unit, args):
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5)
    times, start = [], time.perf_counter()
    for i in range(12):
        began = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.dtype == "bf16"):
            value = loss()
        value.backward()
        optimiser.step()
        if i:
            times.append(time.perf_counter() - began)
        if i >= 3 and time.perf_counter() - start > args.seconds:
            break
    middle = statistics.median(times)
    count = sum(p.numel() for p in model.parameters()) / 1e6
    print(f"{name:44s} {middle * 1e3:10.1f} ms {units / middle:10.1f} {unit:8s} {count:.1f} M", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20, help="of measuring, each row")
    parser.add_argument("--dtype", choices=["bf16", "f32"], default="bf16")
    parser.add_argument("rows", nargs="*", default=["lm", "video", "audio"])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    print(f"torch {torch.__version__}, {args.threads} threads, {args.dtype}")
    for row in args.rows:
        if row == "lm":
            model = LanguageModel(6, 384, 6, 640)
            measure("lm default train step, batch 4 x 1792", model, language_step(model, 4, 1792),
                    4 * 1792, "tokens/s", args)
        elif row == "lm300m":
            model = LanguageModel(16, 1024, 16, 4096)
            measure("lm 300m train step, batch 1 x 1792", model, language_step(model, 1, 1792),
                    1792, "tokens/s", args)
        elif row == "video":
            model = Video().to(memory_format=torch.channels_last_3d)
            x = torch.randn(4, 192, 5, 32, 32).to(memory_format=torch.channels_last_3d)
            measure("video default train step, batch 4", model, reconstruction_step(model, x),
                    4, "clips/s", args)
        elif row == "audio":
            model = Audio()
            x = torch.randn(16, 8, 2000)
            measure("audio default train step, 16 x 1 s", model, reconstruction_step(model, x),
                    16, "s/s", args)
        else:
            parser.error(f"rows: found {row}, known are lm, lm300m, video, audio")


if __name__ == "__main__":
    main()
