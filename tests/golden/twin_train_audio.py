"""PyTorch twin of the audio codec's training, with critics: the network, names, layouts and losses
of tokenizers/audio_*.c and src/train/*.c, for a GPU and a budget of wall-clock seconds.

  twin_train_audio.py --data DIR --init audio.safetensors --out DIR --seconds 380
  twin_train_audio.py ... --decoder-only --decoder-units 7 --decoder-middle 3   (no critics; may grow)
  twin_train_audio.py --golden tests/golden/audio_steps.safetensors    (twelve steps to replay in C)

DIR: see twin_audio_data.py. Sound is [n, w, c], channels last. Every step has the same shapes and
no decision on the host, so on a GPU it becomes one graph.
"""
import argparse
import json
import math
import os
import time

BEGAN = time.time()  # loading PyTorch counts

import numpy as np
import torch
import torch.nn.functional as F

import twin_audio
from twin_audio_data import Sounds, read_tensors, write_tensors
from twin_critics import Critics, Flat
from twin_train_video import Optimiser

COMMIT, CENTRE = 0.25, 0.1
LINEAR = 10  # weight of the mel loss's linear part
BOOK_DECAY, DEAD, BORN = 0.99, 0.1, 0.4
WAVE, MISTAKES = 8.0, 100  # of training the decoder alone


# ---- Network ----

def grown(params, c):
    """params and the decoder units of config c that they lack, which begin as identities."""
    out = dict(params)
    wide = params["decoder.stem.bias"].numel()
    stacks = [("decoder.middle", c["decoder_middle"] or c["middle"], wide)]
    for i in range(len(c["strides"])):
        stacks.append(("decoder.stage%d.unit" % i, c["decoder_units"] or c["units"],
                       params["decoder.stage%d.up.bias" % i].numel() // c["strides"][i]))
    for stack, count, width in stacks:
        for name in (stack + str(j) for j in range(count)):
            if name + ".conv0.weight" in out:
                continue
            for conv, k in (("conv0", c["unit_kernel"]), ("conv1", 1)):
                scale = (k * width) ** -0.5 if conv == "conv0" else 0
                weight = torch.randn(width, 1, 1, k, width) * scale
                out["%s.%s.weight" % (name, conv)] = weight
                out["%s.%s.bias" % (name, conv)] = torch.zeros(width)
    return out


class Codec:
    """Parameters by name; `p` may be exchanged for an average of the same names. work: what the
    decoder's units compute in, around a sum in f32."""

    work = torch.float32

    def __init__(self, c, params, device):
        self.c = c
        self.p = {k: v.to(device) for k, v in params.items() if k != "rvq.books"}
        self.books = params["rvq.books"].to(device)
        w = c["window"]
        self.hann = torch.hann_window(w, device=device) if w else None

    @staticmethod
    def conv(p, name, x, dilation=1):
        weight = p[name + ".weight"]
        cout, k = weight.shape[0], weight.shape[3]
        if k > 1:
            w = x.shape[1]
            x = F.pad(x, (0, 0, (k - 1) * dilation, 0))
            x = torch.cat([x[:, i * dilation:i * dilation + w] for i in range(k)], 2)
        bias = p[name + ".bias"].to(x.dtype) if name + ".bias" in p else None
        return F.linear(x, weight.reshape(cout, -1).to(x.dtype), bias)

    def units(self, p, name, x, count, work=torch.float32):
        for i in range(count):
            h = self.conv(p, "%s%d.conv0" % (name, i), F.elu(x).to(work), 3 ** (i % 4))
            x = x + self.conv(p, "%s%d.conv1" % (name, i), F.elu(h))
        return x

    def frames(self, wave):
        c, hop, window = self.c, self.c["stem"], self.c["window"]
        x = F.pad(wave, (window - hop, 0)).unfold(1, window, hop)
        level = ((x * x).mean(2, keepdim=True) + 1e-5).sqrt()
        power = torch.fft.rfft(self.hann * x)[..., 1:].abs() ** 2 / (self.hann ** 2).sum()
        return torch.cat([x[..., -hop:] / level, (power + 1e-6).log() / 4 + 1.75], 2)

    def encode(self, wave, p=None):
        c, p = self.c, p or self.p
        x = self.conv(p, "encoder.stem", self.frames(wave))
        for i, s in enumerate(c["strides"]):
            x = F.elu(self.units(p, "encoder.stage%d.unit" % i, x, c["units"]))
            x = x.reshape(x.shape[0], x.shape[1] // s, -1)
            x = self.conv(p, "encoder.stage%d.down" % i, x)
        x = self.units(p, "encoder.middle", x, c["middle"])
        return self.conv(p, "encoder.out", x)

    def decode(self, z, p=None):
        c, p = self.c, p or self.p
        x = self.conv(p, "decoder.stem", z)
        x = self.units(p, "decoder.middle", x, c.get("decoder_middle") or c["middle"],
                       self.work)
        for i, s in reversed(list(enumerate(c["strides"]))):
            x = self.conv(p, "decoder.stage%d.up" % i, F.elu(x))
            x = x.reshape(x.shape[0], x.shape[1] * s, -1)
            x = self.units(p, "decoder.stage%d.unit" % i, x,
                           c.get("decoder_units") or c["units"], self.work)
        a, b = self.conv(p, "decoder.out", F.elu(x)).chunk(2, 2)
        x = self.conv(p, "decoder.synthesis", F.silu(a) * b)
        return x.reshape(x.shape[0], -1)

    def nearest(self, x, level):
        book = self.books[level]
        return ((book * book).sum(1) - 2 * x @ book.t()).argmin(1)

    def quantise(self, z, use):
        """[n, w, dim], levels of each clip [n] -> sum of codes, ids [levels, n * w] of all."""
        x = z.reshape(-1, z.shape[2])
        use = use[:, None].expand(z.shape[:2]).reshape(-1)
        out, ids = torch.zeros_like(x), []
        for q in range(self.c["levels"]):
            i = self.nearest(x - out, q)
            out = out + self.books[q][i] * (use > q).to(x.dtype)[:, None]
            ids.append(i)
        return out.reshape(z.shape), torch.stack(ids)

    def mistaken(self, q):
        """q, one frame in MISTAKES off by the difference of two codes of a level."""
        levels, codes, dim = self.books.shape
        flat, n, d = self.books.reshape(-1, dim), q.shape[:2], q.device
        level = torch.randint(0, levels, n, device=d) * codes
        to, was = (flat[level + torch.randint(0, codes, n, device=d)] for _ in range(2))
        return q + (to - was) * (torch.rand(*n, 1, device=d) * MISTAKES < 1)


class Quantiser:
    """rvq_ema.c: codebooks follow averages of the residuals they win; dead codes are replaced."""

    def __init__(self, codec, rows, replace=True):
        self.codec, self.replace = codec, replace
        c, d = codec.c, codec.books.device
        fair = rows / c["codes"]
        self.hits = torch.full((c["levels"], c["codes"]), fair, device=d)
        self.sums = codec.books * fair

    @torch.no_grad()
    def train(self, z, use):
        """use [n]: levels of each clip. Returns the sum of codes, as z."""
        x = torch.nan_to_num(z.detach()).reshape(-1, z.shape[2])
        use = use[:, None].expand(z.shape[:2]).reshape(-1)
        out, books = torch.zeros_like(x), self.codec.books
        for q in range(books.shape[0]):
            rest = x - out
            i = self.codec.nearest(rest, q)
            on = (use > q).to(x.dtype)[:, None]
            out = out + books[q][i] * on
            self.hits[q] *= BOOK_DECAY
            self.sums[q] *= BOOK_DECAY
            self.hits[q].index_add_(0, i, (1 - BOOK_DECAY) * on[:, 0])
            self.sums[q].index_add_(0, i, (1 - BOOK_DECAY) * on * rest)
            centre = self.sums[q] / self.hits[q].clamp(min=1e-6)[:, None]
            books[q].copy_(torch.where(self.hits[q][:, None] > 1e-6, centre, books[q]))
            if self.replace:
                self.replace_dead(q, rest, on)
        return out.reshape(z.shape)

    def replace_dead(self, q, rest, on):
        books = self.codec.books
        fair = on.sum() / books.shape[1]
        r = torch.randint(0, rest.shape[0], (books.shape[1],), device=rest.device)
        dead = (self.hits[q] < DEAD * fair) & (on[r, 0] > 0)
        row = rest[r]
        self.hits[q].copy_(torch.where(dead, BORN * fair, self.hits[q]))
        self.sums[q].copy_(torch.where(dead[:, None], BORN * fair * row, self.sums[q]))
        books[q].copy_(torch.where(dead[:, None], row, books[q]))

    @staticmethod
    def pull(z, quantised):
        """Commitment and centring, relative to the variance of z, which counts as a constant."""
        mean = z.mean((0, 1))
        offset = (mean * mean).mean()
        spread = ((z * z).mean() - offset).detach() + 1e-6
        lost = ((z - quantised) ** 2).mean()
        return (COMMIT * lost + CENTRE * offset) / spread, lost.detach() / spread

    def perplexity(self):
        share = self.hits / self.hits.sum(1, keepdim=True)
        return torch.exp(-(share * (share + 1e-20).log()).sum(1))


# ---- Losses ----

class Mel:
    """mel.c as it trains: windows 64 .. 2048, hop a half, s / 8 bands below 256, then s / 4, at most 256."""

    def __init__(self, device, rate=16000):
        self.scales = []
        for s in (64, 128, 256, 512, 1024, 2048):
            mels = s // 8 if s < 256 else min(s // 4, 256)
            hann = torch.hann_window(s, dtype=torch.double) / math.sqrt(0.375 * s)
            edge = 700 * (10 ** (2595 * math.log10(1 + rate / 1400) * torch.arange(
                mels + 2, dtype=torch.double) / (mels + 1) / 2595) - 1)
            step = rate / s
            left = (edge[1:-1] - edge[:-2]).clamp(min=step)
            right = (edge[2:] - edge[1:-1]).clamp(min=step)
            d = step * torch.arange(s // 2 + 1, dtype=torch.double)[:, None] - edge[None, 1:-1]
            filters = torch.where(d < 0, 1 + d / left, 1 - d / right).clamp(min=0)
            self.scales.append((s, hann.float().to(device), filters.float().to(device)))

    def __call__(self, x, y):
        total, n = 0, x.shape[0]
        both = torch.cat([x, y])
        for s, hann, filters in self.scales:
            hop = s // 2
            frames = (x.shape[1] + s - 1) // hop
            z = F.pad(both, (s - hop, frames * hop - x.shape[1])).unfold(1, s, hop)
            z = torch.view_as_real(torch.fft.rfft(z * hann))
            m = (z.square().sum(-1) + 1e-20).sqrt() @ filters
            a, b = m[:n], m[n:]
            total = total + LINEAR * (a - b).abs().mean()
            total = total + ((a + 1e-3) / (b + 1e-3)).log().abs().mean()
        return total / len(self.scales)


class Ears:
    """eval_sound.c: windows 256 .. 2048, hop a quarter; levels relative to a sine of 1."""

    def __init__(self, device, rate=16000):
        self.windows = [(s, torch.hann_window(s, device=device) * 4 / s)
                        for s in (256, 512, 1024, 2048)]
        edge = torch.arange(82, dtype=torch.double) * math.log10(1 + rate / 1400) / 81
        edge = 700 * (10 ** edge - 1)
        hz = torch.arange(513, dtype=torch.double)[:, None] * rate / 1024
        up = (hz - edge[:-2]) / (edge[1:-1] - edge[:-2])
        down = (edge[2:] - hz) / (edge[2:] - edge[1:-1])
        self.filters = torch.minimum(up, down).clamp(min=0).float().to(device)
        self.low = {}
        for s in (512, 1024):
            w = (1 - torch.arange(s // 2 + 1) * rate / s / 1600).clamp(min=0)
            k = int((w > 0).sum())
            self.low[s] = (k, (w[:k] / w.sum()).to(device))

    def spectra(self, x):
        """Complex spectra [n, frames, bins] of each window."""
        out = []
        for s, hann in self.windows:
            frames = x.shape[1] // (s // 4) + 1
            z = F.pad(x, (s // 2, s)).unfold(1, s, s // 4)[:, :frames]
            out.append(torch.fft.rfft(z * hann))
        return out

    def losses(self, x, y, with_low=True):
        """Multi-resolution distance as it is scored, but with a slope under the floor where the
        target is above it; and, with_low, how far the waves differ below 1.6 kHz, phase and all:
        complex spectra with levels compressed, so that weak partials count."""
        n, stft, low = x.shape[0], 0, 0
        for (s, _), z in zip(self.windows, self.spectra(torch.cat([x, y]))):
            r = torch.view_as_real(z)
            m = (r.square().sum(-1) + 1e-12).sqrt()
            a, b = m[:n], m[n:]
            miss = (a - b).square().sum((1, 2)) / (b.square().sum((1, 2)) + 1e-3)
            stft = stft + (miss + 1e-8).sqrt().mean()
            a = a.clamp(min=1e-4) - 0.1 * (1e-4 - a).clamp(min=0) * (b > 1e-4)
            stft = stft + (a / b.clamp(min=1e-4)).log().abs().mean()
            if with_low and s in self.low:
                k, w = self.low[s]
                c = r[:, :, :k] * (m[:, :, :k].square() + 1e-6).pow(-0.3)[..., None]
                d = ((c[:n] - c[n:]).square().sum(-1) + 1e-8).sqrt()
                size = (c[n:].square().sum(-1) + 1e-8).sqrt()
                low = low + ((d * w).sum(2).mean(1) / ((size * w).sum(2).mean(1) + 1e-2)).mean()
        return stft / len(self.windows), low

    @torch.no_grad()
    def score(self, x, y):
        """Of each clip: log-mel distance of x from y in dB, multi-resolution STFT distance."""
        stft, mel = 0, None
        for (s, _), a, b in zip(self.windows, self.spectra(x), self.spectra(y)):
            a, b = a.abs(), b.abs()
            stft = stft + ((a - b).square().sum((1, 2)) / b.square().sum((1, 2))).sqrt() / 4
            stft = stft + (a.clamp(min=1e-4) / b.clamp(min=1e-4)).log().abs().mean((1, 2)) / 4
            if s == 1024:
                p, q = (a @ self.filters).clamp(min=1e-4), (b @ self.filters).clamp(min=1e-4)
                mel = 20 * (p / q).log10().abs().mean((1, 2))
        return mel, stft


def pitch(x):
    """[n, w] -> f0 in Hz and height of the peak, of frames of 40 ms every 10 ms."""
    z = x.unfold(1, 640, 160)
    z = z - z.mean(2, keepdim=True)
    r = torch.fft.irfft(torch.fft.rfft(z, 2048).abs() ** 2)[..., :256]
    energy = z.square().cumsum(2)
    lag = torch.arange(40, 229, device=x.device)
    head, tail = energy[..., 639 - lag], energy[..., -1:] - energy[..., lag - 1]
    r = r[..., lag] / (head * tail + 1e-8).sqrt()
    best = r.amax(2, keepdim=True)
    first = (r > 0.9 * best).to(torch.float32).argmax(2)  # the shortest good lag: no octave below
    near = torch.stack([r.gather(2, (first + k).clamp(0, 188)[..., None])[..., 0]
                        for k in range(6)], 2)
    first = first + near.argmax(2)
    return 16000 / (first + 40.0), best[..., 0] * (energy[..., -1] > 0.01)


def si_sdr(x, y):
    x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    t = (x * y).sum(1, keepdim=True) / (y * y).sum(1, keepdim=True) * y
    return 10 * (t.square().sum(1) / ((x - t).square().sum(1) + 1e-9) + 1e-9).log10()


# ---- A step ----

def draw_levels(n, device):
    """Half of the clips use all levels, the others 1 .. 4."""
    some = torch.randint(1, 5, (n,), device=device)
    return torch.where(torch.rand(n, device=device) < 0.5, torch.full_like(some, 4), some)


class Trainer:
    """step() reads `knobs` and adds to `stats`; everything else stays on the device."""

    KNOBS = ["lr", "critic_lr", "stft", "low", "critic", "average"]
    STATS = ["mel", "stft", "low", "lost", "norm", "learn", "fool", "feature", "critic_norm",
             "dy_mel", "dy_stft", "dy_low", "dy_critic"]

    def __init__(self, params, sounds, o, device):
        self.o, self.sounds, self.device = o, sounds, device
        self.codec = Codec(twin_audio.DEFAULT, params, device)
        self.flat = Flat(self.codec.p, decay=0.01, frozen=("decoder.synthesis.weight",))
        self.codec.p = self.flat.params
        self.critics = Critics().to(device)
        if o.critics:
            state = torch.load(o.critics, map_location=device, weights_only=True)
            self.critics.load_state_dict({k: v.float() for k, v in state.items()})
        names = dict(self.critics.named_parameters())
        self.critic_flat = Flat(names)
        for name, p in names.items():
            p.data = self.critic_flat.params[name].data
        self.critic_params = list(self.critics.parameters())
        self.mel, self.ears = Mel(device), Ears(device)
        self.rvq = Quantiser(self.codec, o.batch * o.crop // 320)
        self.knobs = torch.zeros(len(self.KNOBS), device=device)
        self.stats = torch.zeros(len(self.STATS), device=device)
        self.norms = torch.zeros(4, device=device)  # running, of the losses' gradients of the wave
        self.graph = None

    def balanced(self, y, losses, shares):
        """Gradient of the wave y: each loss's, weighted and brought in each clip to the size of the
        first's there, but no louder than four times what is usual for it."""
        grads = [torch.autograd.grad(x, y, retain_graph=True)[0] for x in losses]
        each = torch.nan_to_num(torch.stack([g.norm(dim=1) for g in grads]), 0, 0, 0)
        mine, now = self.norms[:len(grads)], each.square().mean(1).sqrt()
        mine.copy_(torch.where(mine > 0, torch.lerp(mine, now, 0.05), now))
        most = 4 * mine[0] / (mine + 1e-12)
        ratio = torch.minimum(each[0] / (each + 1e-12), most[:, None])
        return sum(s * r[:, None] * g for s, r, g in zip(shares, ratio, grads))

    def step(self):
        lr, critic_lr, w_stft, w_low, w_critic, average = self.knobs.unbind()
        n, d = self.o.batch, self.device
        wave = self.sounds.crops(n, self.o.crop)
        z = self.codec.encode(wave)
        q = self.rvq.train(z, draw_levels(n, d))
        pull, lost = Quantiser.pull(z, q)
        y = self.codec.decode(z + (q - z).detach())
        leaf = y.detach().requires_grad_(True)
        mel = self.mel(leaf, wave)
        stft, low = self.ears.losses(leaf, wave)
        losses, shares = [mel, stft, low], [1.0, w_stft, w_low]
        if self.o.critic > 0:
            part = slice(self.o.crop - self.o.critic_crop, None)
            learn, fool, feature = self.critics(leaf[:, part], wave[:, part])
            losses, shares = losses + [fool + 4 * feature], shares + [w_critic]
        dy = self.balanced(leaf, losses, shares)
        params = list(self.flat.params.values())
        dg = torch.autograd.grad([y, pull], params, [dy, torch.full_like(pull, 2)])
        stats = [mel, stft, low, lost, self.flat.step(dg, lr, average)]
        if self.o.critic > 0:
            dc = torch.autograd.grad(learn, self.critic_params)
            stats += [learn, fool, feature, self.critic_flat.step(dc, critic_lr)]
        self.stats[:len(stats)] += torch.stack([x.detach() for x in stats])
        self.stats[-4:] += self.norms

    def capture(self):
        """The step as one graph, where there is a GPU that takes it; else step by step."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.step()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self.step()
            self.graph = graph
        except Exception as e:  # whatever stands in its way, training goes on
            print("no graph:", str(e).splitlines()[0], flush=True)
            torch.cuda.synchronize()

    def advance(self):
        if self.graph:
            self.graph.replay()
        else:
            self.step()

    def set_knobs(self, u, step):
        """u: share of the budget that has passed."""
        o = self.o
        cool = 1.0 if u < o.plateau else 1 - math.sqrt(min(1, (u - o.plateau) / (1 - o.plateau)))
        warm = min(1.0, (step + 1) / 200)
        cool = max(cool, 0.01)
        ramp = min(1.0, max(0.0, (u - 0.04) / 0.10))
        values = dict(lr=o.lr * warm * cool, critic_lr=o.critic_lr * warm * max(cool, 0.2),
                      stft=o.stft, low=o.low * (1 - 0.6 * min(1, u / 0.8)), critic=o.critic * ramp,
                      average=min(0.999, (1 + step) / (10 + step)))
        self.knobs.copy_(torch.tensor([values[k] for k in self.KNOBS]), non_blocking=True)

    # ---- Reports ----

    def averages(self):
        return self.flat.averages()

    def state(self):
        return {"skipped": int(self.flat.skipped + self.critic_flat.skipped),
                "codes": [round(x) for x in self.rvq.perplexity().tolist()]}

    @torch.no_grad()
    def validate(self, levels=4):
        """The validation clips as users would hear them, whole, as `reelm eval audio` has them."""
        waves = [w.astype(np.float32) / 32768 for w in self.sounds.val]
        frames = [max(1, (2 * len(w) + 319) // 640) for w in waves]
        width, d, p = 320 * max(frames), self.device, self.averages()
        x = torch.from_numpy(np.stack([np.pad(w, (0, max(0, width - len(w))))[:width]
                                       for w in waves])).to(d)
        now, self.codec.work = self.codec.work, torch.float32
        torch.backends.cuda.matmul.allow_tf32 = False
        use = torch.full((len(waves),), levels, device=d)
        q, ids = self.codec.quantise(self.codec.encode(x, p), use)
        y = self.codec.decode(q, p)
        rows = []
        for i, w in enumerate(waves):
            a = F.pad(y[i:i + 1, :320 * frames[i]], (0, 320))[:, :len(w)]
            b = torch.from_numpy(w).to(d)[None]
            rows.append(torch.cat([*self.ears.score(a, b), si_sdr(a, b)]))
        mel, stft, sdr = torch.stack(rows, 1)
        kinds = {kind: torch.tensor([n.startswith(kind) for n in self.sounds.val_names], device=d)
                 for kind in ("speech", "music", "effects")}
        f0, peak = pitch(x)
        voiced = (peak > 0.7) & kinds["speech"][:, None]
        right = ((pitch(y)[0] / f0).log2().abs() < 0.07) & voiced
        torch.backends.cuda.matmul.allow_tf32, self.codec.work = True, now
        out = {"mel_db": mel.mean(), "stft": stft.mean(), "si_sdr": sdr.mean(),
               "f0": right.sum() / voiced.sum().clamp(min=1)}
        for kind, on in kinds.items():
            out["mel_" + kind], out["stft_" + kind] = mel[on].mean(), stft[on].mean()
        out = {k: round(float(v), 4) for k, v in out.items()}
        inside = torch.arange(width // 320)[None] < torch.tensor(frames)[:, None]
        ids = ids[:levels, inside.reshape(-1).to(d)]
        out["used"] = [round(i.unique().numel() / self.codec.c["codes"], 3) for i in ids]
        return out

    def save(self):
        tensors = self.averages()
        tensors["rvq.books"] = self.codec.books
        write_tensors(os.path.join(self.o.out, "audio.safetensors"), tensors)
        state = {k: v.to("cpu", torch.bfloat16) for k, v in self.critics.state_dict().items()}
        torch.save(state, os.path.join(self.o.out, "critics.pt"))


class DecoderTrainer(Trainer):
    """recipe "decoder_only" of the C trainer: mel, wave and STFT losses as a sum, Muon; encoder and
    codebooks stay to the bit. The units may compute in bf16."""

    STATS = ["mel", "stft", "wave", "norm"]

    def __init__(self, params, sounds, o, device):
        self.o, self.sounds, self.device = o, sounds, device
        c = dict(twin_audio.DEFAULT, decoder_units=o.decoder_units, decoder_middle=o.decoder_middle)
        self.codec = Codec(c, grown(params, c), device)
        if device == "cuda":
            self.codec.work = torch.bfloat16
        learn = {k: v for k, v in self.codec.p.items()
                 if k.startswith("decoder.") and "synthesis" not in k}
        self.optim = Optimiser(learn, ema=o.ema)
        self.codec.p.update(learn)
        self.learn = list(learn.values())
        self.mel, self.ears = Mel(device), Ears(device)
        self.knobs = torch.zeros(5, device=device)  # of Optimiser.update
        self.stats = torch.zeros(len(self.STATS), device=device)
        self.graph = None

    def step(self):
        wave = self.sounds.crops(self.o.batch, self.o.crop)
        with torch.no_grad():
            z = self.codec.encode(wave)
            q, _ = self.codec.quantise(z, draw_levels(self.o.batch, self.device))
            q = self.codec.mistaken(q)
        y = self.codec.decode(q)
        mel, flat = self.mel(y, wave), (y - wave).abs().mean()
        stft, _ = self.ears.losses(y, wave, with_low=False)
        grads = torch.autograd.grad(mel + WAVE * flat + self.o.stft * stft, self.learn)
        for p, g in zip(self.learn, grads):
            p.grad.copy_(torch.nan_to_num(g, 0, 0, 0))
        norm = self.optim.update(self.knobs)
        self.stats += torch.stack([x.detach() for x in (mel, stft, flat, norm)])

    def set_knobs(self, u, step):
        o = self.o
        done = min(1.0, max(0.0, (u - o.plateau) / (1 - o.plateau)))
        rate = min(1.0, (step + 1) / 100) * max(1e-4, 1 - math.sqrt(done))
        self.knobs.copy_(self.optim.rates(o.lr * rate, o.muon_lr * rate), non_blocking=True)

    def averages(self):
        return {**self.codec.p, **self.optim.averaged()}

    def state(self):
        return {}

    def save(self):
        tensors = {**self.averages(), "rvq.books": self.codec.books}
        write_tensors(os.path.join(self.o.out, "audio.safetensors"), tensors)


def train(o):
    began = BEGAN
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(o.seed)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark, torch.backends.cudnn.benchmark_limit = True, 4
    os.makedirs(o.out, exist_ok=True)
    if o.threads:
        torch.set_num_threads(o.threads)
    kind = DecoderTrainer if o.decoder_only else Trainer
    t = kind(read_tensors(o.init), Sounds(o.data, o.ffmpeg, device), o, device)
    log = open(os.path.join(o.out, "metrics.jsonl"), "a")

    def say(kind, values):
        line = json.dumps({"kind": kind, "t": round(time.time() - began, 1), **values})
        print(line, flush=True)
        log.write(line + "\n")
        log.flush()

    say("val", {"step": 0, **t.validate()})
    if device == "cuda":
        t.set_knobs(0.0, 0)
        t.capture()
    say("start", {"graph": t.graph is not None, "clips": int(t.sounds.lengths.numel())})
    t.stats.zero_()
    start, step, last = time.time(), 0, 0
    budget = max(1.0, began + o.seconds - 8 - start)  # the last report and file need a moment
    told = looked = saved = start
    while time.time() - start < budget and step < o.steps:
        t.set_knobs((time.time() - start) / budget, step)
        t.advance()
        step += 1
        if step % o.every:
            continue
        stats = (t.stats / o.every).tolist()  # waits for the device
        t.stats.zero_()
        now = time.time()
        if now - told >= o.tell:
            values = {k: float("%.4g" % v) for k, v in zip(t.STATS, stats)}
            say("step", {"step": step, "rate": round((step - last) / (now - told), 1), **values,
                         **t.state()})
            told, last = now, step
        if now - looked >= o.look:
            say("val", {"step": step, **t.validate()})
            looked = now
        if now - saved >= 60:
            t.save()
            saved = now
    t.save()
    say("val", {"step": step, "seconds": round(time.time() - start, 1), **t.validate()})
    for levels in (1, 2, 3):
        say("levels", {"levels": levels, **t.validate(levels)})


# ---- Steps to replay ----

GOLDEN = dict(steps=12, clips=2, width=3200, lr=5e-4, betas=(0.9, 0.95), eps=1e-8, decay=0.01,
              clip=1.0, wave=8.0)


def golden_wave(step):
    """[clips, width]: a voice of three partials, another pitch each step."""
    t = np.arange(GOLDEN["width"]) / 16000
    rows = []
    for clip in range(GOLDEN["clips"]):
        f = 2 * np.pi * (110 + 70 * clip + 13 * step)
        rows.append(0.2 * np.sin(f * t) + 0.1 * np.sin(2 * f * t + step) + 0.05 * np.sin(7 * f * t))
    return torch.tensor(np.stack(rows).astype(np.float32))


def write_golden(out):
    """Reconstruction training of the tiny codec from the weights of audio_tiny.safetensors."""
    g = GOLDEN
    here = os.path.dirname(os.path.abspath(__file__))
    found = read_tensors(os.path.join(here, "audio_tiny.safetensors"))
    codec = Codec(twin_audio.TINY, {k: v for k, v in found.items() if k[:7] != "golden."}, "cpu")
    learn = [p.requires_grad_(True) for k, p in codec.p.items() if "synthesis" not in k]
    groups = [dict(params=[p for p in learn if p.dim() > 1], weight_decay=g["decay"]),
              dict(params=[p for p in learn if p.dim() == 1], weight_decay=0)]
    optim = torch.optim.AdamW(groups, lr=g["lr"], betas=g["betas"], eps=g["eps"])
    rvq, mel_of = Quantiser(codec, g["clips"] * g["width"] // 320, replace=False), Mel("cpu")
    rows = []
    for step in range(g["steps"]):
        wave = golden_wave(step)
        z = codec.encode(wave)
        q = rvq.train(z, torch.tensor([1 + (step + clip) % 4 for clip in range(g["clips"])]))
        pull, lost = Quantiser.pull(z, q)
        y = codec.decode(z + (q - z).detach())
        mel, flat = mel_of(y, wave), (y - wave).abs().mean()
        optim.zero_grad()
        (mel + g["wave"] * flat + pull).backward()
        norm = torch.nn.utils.clip_grad_norm_(learn, g["clip"])
        optim.step()
        rows.append([float(x.detach()) for x in (mel, flat, lost, norm)])
        print(step, *("%.5f" % x for x in rows[-1]))
    twin_audio.save(out, {"steps.losses": np.array(rows, np.float32),
                          "steps.books": codec.books[:, :8].numpy().copy(),
                          "steps.out": codec.p["decoder.out.weight"].detach().numpy()[:8].copy()})


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--golden")
    p.add_argument("--data")
    p.add_argument("--init")
    p.add_argument("--out")
    p.add_argument("--critics", help="critics.pt of an earlier run")
    p.add_argument("--ffmpeg", default="ffmpeg")
    p.add_argument("--seconds", type=float, default=380)
    p.add_argument("--steps", type=int, default=1 << 30)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--crop", type=int, default=20480)
    p.add_argument("--critic-crop", type=int, default=10240, help="the end of it that critics hear")
    p.add_argument("--decoder-only", action="store_true", help="encoder and codebooks stay")
    p.add_argument("--decoder-units", type=int, default=0, help="0: as the encoder's")
    p.add_argument("--decoder-middle", type=int, default=0)
    p.add_argument("--muon-lr", type=float, default=2e-3, help="of matrices, with --decoder-only")
    p.add_argument("--ema", type=float, default=0.999, help="with --decoder-only")
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--lr", type=float, help="8e-4; 6e-4 with --decoder-only")
    p.add_argument("--critic-lr", type=float, default=5e-4)
    p.add_argument("--stft", type=float, help="1; 6 with --decoder-only")
    p.add_argument("--low", type=float, default=0.7)
    p.add_argument("--critic", type=float, default=1.2)
    p.add_argument("--plateau", type=float, help="0.55; 0.5 with --decoder-only")
    p.add_argument("--every", type=int, default=20, help="steps between looks at the clock")
    p.add_argument("--tell", type=float, default=5)
    p.add_argument("--look", type=float, default=20)
    p.add_argument("--seed", type=int, default=1)
    o = p.parse_args()
    usual = (6e-4, 6.0, 0.5) if o.decoder_only else (8e-4, 1.0, 0.55)
    for name, value in zip(("lr", "stft", "plateau"), usual):
        if getattr(o, name) is None:
            setattr(o, name, value)
    if o.golden:
        write_golden(o.golden)
    else:
        train(o)


if __name__ == "__main__":
    main()
