"""Critics of waves for twin_train_audio.py, and AdamW on one flat vector.

Two families see the crops: pictures of compressed complex spectra at windows 256 .. 2048 (four bins
side by side as channels, as src/train/discriminators.c has them, with dilation in time), and the
wave folded by 2, 3, 5, 7 and 11 samples (HiFi-GAN), which hear a wrong period at once.
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class NormConv(nn.Module):
    """Convolution whose rows are gain times direction; a gain of sqrt(2) keeps the size of what
    passes through it and a rectifier."""

    def __init__(self, *args, gain=math.sqrt(2), **more):
        super().__init__()
        conv = nn.Conv2d(*args, **more)
        self.direction, self.bias = conv.weight, conv.bias
        self.gain = nn.Parameter(torch.full((conv.out_channels, 1, 1, 1), gain))
        self.how = (conv.stride, conv.padding, conv.dilation)

    def forward(self, x):
        v = self.direction
        w = v * (self.gain * (v.square().sum((1, 2, 3), keepdim=True) + 1e-12).rsqrt())
        return F.conv2d(x, w, self.bias, *self.how)


class Stack(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        features = []
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), 0.1)
            features.append(x)
        return self.layers[-1](x), features


class Spectral(nn.Module):
    def __init__(self, window, width=32):
        super().__init__()
        self.window = window
        self.register_buffer("hann", torch.hann_window(window) / math.sqrt(0.375 * window),
                             persistent=False)
        self.stack = Stack([
            NormConv(8, width, (3, 5), padding=(1, 2)),
            NormConv(width, width, (3, 5), (1, 2), padding=(1, 2)),
            NormConv(width, width, (3, 5), (1, 2), padding=(2, 2), dilation=(2, 1)),
            NormConv(width, width, (3, 3), padding=(4, 1), dilation=(4, 1)),
            NormConv(width, 1, 3, padding=1, gain=0.3)])

    def forward(self, x):
        s = self.window
        z = torch.fft.rfft(x.unfold(1, s, s // 4) * self.hann)[..., :-1]
        z = torch.view_as_real(z)
        z = z * (z.square().sum(-1, keepdim=True) + 1e-4).pow(-0.2)
        z = z.reshape(z.shape[0], z.shape[1], s // 8, 8).permute(0, 3, 1, 2)
        return self.stack(z)


class Periodic(nn.Module):
    def __init__(self, period, widths=(16, 64, 128, 128)):
        super().__init__()
        self.period = period
        layers, last = [], 1
        for w in widths:
            layers.append(NormConv(last, w, (5, 1), (3, 1), padding=(2, 0)))
            last = w
        layers.append(NormConv(last, last, (5, 1), padding=(2, 0)))
        layers.append(NormConv(last, 1, (3, 1), padding=(1, 0), gain=0.3))
        self.stack = Stack(layers)

    def forward(self, x):
        n, w = x.shape
        w -= w % self.period
        return self.stack(x[:, :w].reshape(n, 1, w // self.period, self.period))


class Critics(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList([Spectral(256 << i) for i in range(4)] +
                                   [Periodic(p) for p in (2, 3, 5, 7, 11)])

    def forward(self, fake, real):
        """Losses of the critics, of the generator by hinge, and by features, means over critics."""
        n = real.shape[0]
        level = real.square().mean(1, keepdim=True).sqrt().clamp(min=3e-3)
        x = torch.cat([fake, real]) / torch.cat([level, level])
        learn = fool = feature = 0
        for part in self.parts:
            with torch.autocast("cuda", torch.bfloat16, enabled=x.is_cuda,
                                cache_enabled=False):
                logits, features = part(x)
            logits = logits.float()
            learn = learn + F.relu(1 + logits[:n]).mean() + F.relu(1 - logits[n:]).mean()
            fool = fool + F.relu(1 - logits[:n]).mean()
            each = 0
            for f in features:
                size = f[n:].detach().abs().mean(dtype=torch.float32) + 1e-4
                each = each + (f[:n] - f[n:].detach()).abs().mean(dtype=torch.float32) / size
            feature = feature + each / len(features)
        return learn / len(self.parts), fool / len(self.parts), feature / len(self.parts)


class Flat:
    """Parameters as views of one vector, with AdamW (betas 0.8, 0.99) and an average of it. A step
    with a gradient that is no number changes nothing."""

    def __init__(self, tensors, decay=0.0, frozen=()):
        """tensors {name: tensor}; frozen names never move. self.params are the leaves."""
        total = sum(x.numel() for x in tensors.values())
        first = next(iter(tensors.values()))
        self.data = torch.zeros(total, device=first.device)
        self.keep = torch.zeros_like(self.data)
        self.moves = torch.ones_like(self.data)
        self.params, self.places, at = {}, {}, 0
        for name, x in tensors.items():
            n = x.numel()
            self.data[at:at + n] = x.detach().reshape(-1)
            self.keep[at:at + n] = decay if x.dim() > 1 else 0
            self.moves[at:at + n] = name not in frozen
            self.params[name] = self.data[at:at + n].view(x.shape).requires_grad_(True)
            self.places[name] = (at, n, x.shape)
            at += n
        self.m, self.v = torch.zeros_like(self.data), torch.zeros_like(self.data)
        self.average = self.data.clone()
        self.steps = torch.zeros((), device=first.device)
        self.usual = torch.zeros((), device=first.device)  # running norm of the gradient
        self.skipped = torch.zeros((), device=first.device)

    def averages(self):
        return {k: self.average[a:a + n].view(s) for k, (a, n, s) in self.places.items()}

    @torch.no_grad()
    def step(self, grads, lr, average=None, betas=(0.8, 0.99)):
        """grads in the order of params; lr and average (decay) are scalars on the device."""
        g = torch.cat([x.reshape(-1) for x in grads])
        norm = g.norm()
        good = torch.isfinite(norm)
        one = good.to(g.dtype)
        self.skipped += 1 - one
        self.steps += one
        norm = torch.where(good, norm, torch.zeros_like(norm))
        most = torch.where(self.steps > 20, 3 * self.usual, norm)
        self.usual.copy_(torch.where(self.usual > 0, torch.lerp(
            self.usual, torch.minimum(norm, most), 0.02 * one), norm))
        g = torch.nan_to_num(g, 0, 0, 0) * (most / (norm + 1e-12)).clamp(max=1)
        self.m.lerp_(g, (1 - betas[0]) * one)
        self.v.lerp_(g * g, (1 - betas[1]) * one)
        count = self.steps.clamp(min=1)
        rate = lr * one / (1 - torch.exp(math.log(betas[0]) * count))
        size = (self.v / (1 - torch.exp(math.log(betas[1]) * count))).sqrt() + 1e-9
        self.data.sub_(self.moves * (rate * self.m / size + lr * one * self.keep * self.data))
        if average is not None:
            self.average.lerp_(self.data, 1 - average)
        return norm
