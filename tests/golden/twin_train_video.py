"""Trains the PyTorch twin of the video tokenizer on a GPU, for weights that the C program loads.

The network is twin_video.py's, losses and optimiser are those of src/train/train_video.c and
src/train/optim.c (Muon on matrices, AdamW on the rest, sphere, L1 + L2, entropy, commitment, the
perceptual network). What differs: bf16 activations, larger batches, windows that also play a clip
at two thirds of its speed, and a schedule by the clock.

    python3 tests/golden/twin_train_video.py --data pack0.tar pack1.tar --init video.safetensors \
        --seconds 400 --out OUT

The tars are made by twin_pack_video.py; `world_frames` (tests/golden/world_frames.c) renders the
playground on the processors meanwhile. A run may be cut into several calls with --state: the
schedule counts --total seconds over all of them.
"""
import argparse
import json
import math
import os
import random
import sys
import time

import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import twin_video  # noqa: E402
from twin_video_data import Source  # noqa: E402

L1, L2, ENTROPY, COMMIT = 0.5, 5.0, 0.05, 0.1
FUSED_FRAMES, FUSED_VALUES = 128, 10 ** 7  # less is not worth the time a compiler takes
MADE_LOOK = 0.25    # share of the perceptual weight that playground clips get


# ---- The network, with fused norms ---------------------------------------------------------------

def frame_scale(x, groups: int):
    """x [f][places][c] -> what takes each frame and channel to mean 0 and variance 1 of its group:
    [f][1][c] to multiply with, and to add. Sums of channels first: those are rows in memory."""
    f, places, c = x.shape
    one, two = x.sum(1), x.square().sum(1)
    n = places * (c // groups)
    mean = one.view(f, groups, -1).sum(-1, keepdim=True) / n
    var = (two.view(f, groups, -1).sum(-1, keepdim=True) / n - mean.square()).clamp(min=0)
    k = torch.rsqrt(var + twin_video.GN_EPS)
    spread = lambda v: v.expand(f, groups, c // groups).reshape(f, 1, c)
    return spread(k), spread(-mean * k)


def norm_silu(x, gain, bias, groups: int):
    n, t, h, w, c = x.shape
    y = x.reshape(n * t, h * w, c).float()
    k, b = frame_scale(y, groups)
    return F.silu(y * (k * gain) + (b * gain + bias)).to(x.dtype).reshape(x.shape)


def ada_norm(x, gamma, beta, groups: int):
    n, t, h, w, c = x.shape
    y = x.reshape(n * t, h * w, c).float()
    k, b = frame_scale(y, groups)
    y = (y * k + b).reshape(x.shape)
    return (y * (1 + gamma.float()) + beta.float()).to(x.dtype)


def haar_matrix(device):
    """The three directions of twin_video.haar as one matrix over [4][4][4][3]; its own transpose."""
    m = twin_video.hadamard(torch.zeros((), device=device))
    return torch.kron(torch.kron(torch.kron(m, m), m), torch.eye(3, device=device))


class Tokenizer(twin_video.VideoTwin):
    def __init__(self, config):
        super().__init__(config)
        self.norm_silu, self.ada_norm, self.bands = norm_silu, ada_norm, None

    def to(self, device):
        self.p = {k: v.to(device) for k, v in self.p.items()}
        self.bands = haar_matrix(device)

    def compile(self):
        self.norm_silu = torch.compile(norm_silu, dynamic=False)
        self.ada_norm = torch.compile(ada_norm, dynamic=False)

    def _run_norm(self, name, x):
        large = x.shape[0] * x.shape[1] >= FUSED_FRAMES
        f = self.norm_silu if large and x.numel() >= FUSED_VALUES else norm_silu
        return f(x, self.p[name + ".gain"], self.p[name + ".bias"], self.c["groups"])

    def _ada(self, x, gamma, beta):
        f = self.ada_norm if x.shape[0] * x.shape[1] >= FUSED_FRAMES else ada_norm
        return f(x, gamma, beta, self.c["groups"])

    def encode(self, pixels):
        """As the twin's, with the wavelets as one product."""
        x = torch.cat([pixels[:, :1].expand(-1, 3, -1, -1, -1), pixels], 1)
        n, t, h, w, _ = x.shape
        x = x.view(n, t // 4, 4, h // 4, 4, w // 4, 4, 3).permute(0, 1, 3, 5, 2, 4, 6, 7)
        x = x.reshape(n, t // 4, h // 4, w // 4, 192) @ (self.bands.T / 4)
        return self.encode_bands(x.bfloat16())

    def decode(self, q):
        x = self.decode_bands(q).float()
        n, t, h, w, _ = x.shape
        x = (x @ (self.bands * 4)).view(n, t, h, w, 4, 4, 4, 3)
        x = x.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(n, t * 4, h * 4, w * 4, 3)
        return torch.cat([x[:, :4].mean(1, keepdim=True), x[:, 4:]], 1)

    def code(self, pixels):
        """Pixels to the sphere: z [n][t][h][w][bits], f32, root mean square 1."""
        z = self.encode(pixels).float()
        return z * torch.rsqrt(z.square().mean(-1, keepdim=True) + 1e-6)

    def pixels(self, q):
        return self.decode(q.bfloat16())


# ---- The perceptual network (SqueezeNet v1.1, src/train/squeezenet.h) -----------------------------

class Ruler:
    def __init__(self, path, device):
        from safetensors.torch import load_file
        self.p = {k: v.float().to(device) for k, v in load_file(path).items()}
        self.mean = torch.tensor([104.0, 117.0, 123.0], device=device).view(1, 3, 1, 1)

    def _conv(self, x, name, stride=1, pad=0):
        w = self.p[name + ".weight"].to(x.dtype)
        return F.relu(F.conv2d(x, w, self.p[name + ".bias"].to(x.dtype), stride, pad))

    def features(self, rgb):
        """rgb [n][h][w][3] in [-1, 1] -> nine taps."""
        x = (rgb.flip(-1).permute(0, 3, 1, 2) + 1) * 127.5 - self.mean
        x = self._conv(x.bfloat16(), "conv1", 2)
        taps = [x]
        for f in range(2, 10):
            if f in (2, 4, 6):
                x = F.max_pool2d(x, 3, 2, ceil_mode=True)
            s = self._conv(x, f"fire{f}.squeeze1x1")
            x = torch.cat([self._conv(s, f"fire{f}.expand1x1"),
                           self._conv(s, f"fire{f}.expand3x3", 1, 1)], 1)
            taps.append(x)
        return taps

    def distance(self, a, b):
        """[n]: of b to a, which has no gradient."""
        with torch.no_grad():
            fa = self.features(a)
        total = 0
        for p, q in zip(fa, self.features(b)):
            p, q = (z.float() * torch.rsqrt(z.float().square().sum(1, keepdim=True) + 1e-12)
                    for z in (p, q))
            total = total + (p - q).square().sum(1).mean((1, 2))
        return total


# ---- The optimiser (src/train/optim.c) -----------------------------------------------------------

class Optimiser:
    """Muon on matrices, stacked by shape so that Newton-Schulz runs as batches; AdamW on vectors.

    The parameters of `p` become views of the stacks, and so do their gradients."""

    work = torch.bfloat16  # of Newton-Schulz

    def __init__(self, p, beta2=0.95, decay=0.01, ema=0.999, clip=1.0):
        self.beta2, self.decay, self.ema_rate, self.clip, self.step = beta2, decay, ema, clip, 0
        shapes = {}
        for name, t in p.items():
            rows = t.shape[0]
            key = (rows, t.numel() // rows) if t.dim() > 1 else "vector"
            shapes.setdefault(key, []).append(name)
        self.stacks, self.names, self.shape_of = {}, shapes, {k: t.shape for k, t in p.items()}
        for key, names in shapes.items():
            flat = [p[n].detach().reshape(key if key != "vector" else -1) for n in names]
            w = torch.stack(flat) if key != "vector" else torch.cat(flat)
            s = self.stacks[key] = {k: torch.zeros_like(w) for k in "gmv"}
            s["w"], s["ema"] = w, w.clone()
            if key != "vector":
                del s["v"]
            self._hand_out(p, key)

    def _views(self, key, t):
        if key != "vector":
            return list(t)
        return t.split([math.prod(self.shape_of[n]) for n in self.names[key]])

    def _hand_out(self, p, key):
        s = self.stacks[key]
        for n, w, g in zip(self.names[key], self._views(key, s["w"]), self._views(key, s["g"])):
            p[n] = w.view(self.shape_of[n]).detach().requires_grad_(True)
            p[n].grad = g.view(self.shape_of[n])

    def averaged(self):
        """The exponential average, by name."""
        return {n: e.reshape(self.shape_of[n]) for key, s in self.stacks.items()
                for n, e in zip(self.names[key], self._views(key, s["ema"]))}

    def newton_schulz(self, x):
        dtype = x.dtype
        a, b, c = 3.4445, -4.7750, 2.0315
        tall = x.shape[1] > x.shape[2]
        x = x / (x.square().sum((1, 2), keepdim=True).sqrt() + 1e-20)
        x = x.to(self.work)
        x = x.mT if tall else x
        for _ in range(5):
            gram = x @ x.mT
            poly = b * gram + c * gram @ gram
            x = a * x + poly @ x
        return (x.mT if tall else x).to(dtype)

    def rates(self, lr, muon_lr):
        """Everything in the next update that depends on the step, as one small tensor."""
        self.step += 1
        ema = min(self.ema_rate, (1 + self.step) / (10 + self.step))
        return torch.tensor([lr, muon_lr, 1 - ema, 1 - 0.9 ** self.step,
                             1 - self.beta2 ** self.step])

    @torch.no_grad()
    def update(self, rates):
        """rates: of the method above, on the device. No number leaves the device: a step can be
        captured in a graph. -> norm of the gradient before clipping"""
        lr, muon_lr, fresh, correct_m, correct_v = rates.unbind()
        norm = torch.stack([s["g"].square().sum() for s in self.stacks.values()]).sum().sqrt()
        scale = (self.clip / (norm + 1e-12)).clamp(max=1.0)
        for key, s in self.stacks.items():
            g = s["g"].mul_(scale)
            if key == "vector":
                s["m"].lerp_(g, 0.1)
                s["v"].lerp_(g * g, 1 - self.beta2)
                s["w"].sub_(lr * (s["m"] / correct_m) / ((s["v"] / correct_v).sqrt() + 1e-8))
            else:
                s["m"].mul_(0.95).add_(g)
                u = self.newton_schulz(g + 0.95 * s["m"])
                s["w"].mul_(1 - muon_lr * self.decay).sub_(u * (muon_lr * 0.2 * max(key) ** 0.5))
            s["ema"].add_((s["w"] - s["ema"]) * fresh)
            g.zero_()
        return norm

    def state(self):
        return {"step": self.step, "stacks": {str(k): v for k, v in self.stacks.items()}}

    def load(self, state):
        self.step = state["step"]
        for key, s in self.stacks.items():
            for k, t in s.items():
                t.copy_(state["stacks"][str(key)][k])


# ---- Training ------------------------------------------------------------------------------------

def read_weights(path, config):
    """The tokenizer with the weights of a file; what the file lacks starts as an identity."""
    from safetensors.torch import load_file
    net = Tokenizer(config)
    given = load_file(path) if path else {}
    for name, w in net.p.items():
        if name in given:
            net.p[name] = given[name].float().reshape(w.shape)
        elif given and name.endswith("conv1.weight"):
            net.p[name] = torch.zeros_like(w)
    unknown = [n for n in given if n not in net.p]
    assert not unknown, f"{path} does not fit: {unknown[:4]}"
    return net


def write_weights(path, weights):
    from safetensors.torch import save_file
    save_file({k: v.detach().bfloat16().contiguous().cpu() for k, v in weights.items()}, path + ".tmp")
    os.replace(path + ".tmp", path)


class Trainer:
    def __init__(self, a):
        self.a, self.device = a, torch.device(a.device)
        config = dict(twin_video.DEFAULT, blocks=a.blocks, channels=a.channels,
                      decoder_blocks=a.decoder_blocks)
        self.net = read_weights(a.init, config)
        self.net.to(self.device)
        learn = {k: v for k, v in self.net.p.items()
                 if not a.decoder_only or k.startswith("decoder.")}
        self.optim = Optimiser(learn, ema=a.ema)
        self.net.p.update(learn)
        self.spent, self.held, self.graph = 0.0, None, None
        if a.state and os.path.exists(a.state):
            kept = torch.load(a.state, map_location=self.device)
            self.optim.load(kept["optim"])
            self.spent = kept["spent"]
        self.ruler = Ruler(a.ruler, self.device) if a.ruler else None
        self.source = Source(a.data, self.device, a.world, a.workers, a.ffmpeg)
        self.log = open(os.path.join(a.out, "metrics.jsonl"), "a")
        if a.compile:
            self.net.compile()

    def rate(self, spent):
        """Share of the learning rate: warm-up, level, 1 - sqrt annealing over the last part."""
        warm = min(1.0, (self.optim.step + 1) / self.a.warmup)
        done = (spent / self.a.total - (1 - self.a.anneal)) / self.a.anneal
        return warm * max(1e-4, 1 - math.sqrt(min(1.0, max(0.0, done))))

    def part(self, x, made, entropy, share, weight):
        """Loss and its terms. made: how many of x, from its start, are of the playground."""
        with torch.set_grad_enabled(not self.a.decoder_only):
            z = self.net.code(x)
        y = self.net.pixels(twin_video.quantise(z))
        d = y - x
        l1, l2 = d.abs().mean(), d.square().mean()
        _, token, batch, commit = twin_video.lfq_loss(z, 1.0, 1.0)
        loss = share * (L1 * l1 + L2 * l2 + COMMIT * commit) + entropy * (token - batch)
        look = torch.zeros((), device=self.device)
        if self.ruler:
            n, t = x.shape[:2]
            k = min(t, self.a.looks)
            at = torch.rand(n, t, device=self.device).argsort(1)[:, :k]
            b = torch.arange(n, device=self.device)[:, None]
            looks = self.ruler.distance(x[b, at].flatten(0, 1), y[b, at].flatten(0, 1)).view(n, k)
            look = looks[made:].mean() if made < n else looks.mean()
            loss = loss + share * weight * (MADE_LOOK * looks[:made].sum() + looks[made:].sum()) / (n * k)
        return loss, (l1, l2, look, token, batch, commit)

    def perceptual_weight(self):
        """From --perceptual to --perceptual-end over the run, linearly."""
        a, part = self.a, min(1.0, self.spent / self.a.total)
        return a.perceptual + (a.perceptual_end - a.perceptual) * part

    def work(self):
        """The step itself, from the tensors of `self.held` to those of `self.terms`."""
        clips, pictures, rates, weight = self.held
        loss, terms = self.part(clips, self.made[0], ENTROPY, 7 / 8, weight)
        loss.backward()
        loss, picture_terms = self.part(pictures, self.made[1], 0.0, 1 / 8, weight)
        loss.backward()
        norm = self.optim.update(rates)
        self.terms = torch.stack([t.detach() for t in (*terms, picture_terms[1], norm)])

    def step(self):
        clips, made, pictures, few = self.source.batch(self.a.batch)
        f = self.rate(self.spent)
        rates = self.optim.rates(f * self.a.lr, f * self.a.muon_lr)
        new = (clips, pictures, rates.to(self.device), torch.tensor(self.perceptual_weight()))
        if self.held is None:
            self.held = tuple(t.to(self.device).clone() for t in new)
            self.made = made, few
        for old, now in zip(self.held, new):
            old.copy_(now, non_blocking=True)
        if self.graph:
            self.graph.replay()
        else:
            self.work()
        return self.terms

    def capture(self):
        """From here on a step is one launch. Without a GPU, or when it can't be: as before."""
        if self.device.type != "cuda" or not self.a.graph:
            return
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                self.step()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self.work()
            self.graph = graph
        except Exception as why:  # slower, not wrong
            print("no graph:", why, flush=True)
            torch.cuda.synchronize()

    @torch.no_grad()
    def validate(self):
        now, self.net.p = self.net.p, self.weights()
        fused = self.net.norm_silu, self.net.ada_norm
        self.net.norm_silu, self.net.ada_norm = norm_silu, ada_norm
        out = {}
        for kind, clips in self.source.val.items():
            if not clips:
                continue
            psnr, look, bits = [], [], []
            for c in clips:
                x = c[None].float() * (2 / 255) - 1
                z = self.net.code(x)
                y = ((self.net.pixels((z > 0).float() * 2 - 1) + 1) * 127.5).round().clamp(0, 255)
                bits.append((z > 0).float().mean((0, 1, 2, 3)))
                mse = (y - c[None].float()).square().mean()
                psnr.append(10 * torch.log10(65025 / mse.clamp(min=1e-4)))
                if self.ruler:
                    look.append(self.ruler.distance(x[0, ::8], (y[0, ::8] / 127.5 - 1)).mean())
            out[kind] = round(torch.stack(psnr).mean().item(), 3)
            if look:
                out[kind + "_perceptual"] = round(torch.stack(look).mean().item(), 3)
            if kind == "real":
                b = torch.stack(bits).mean(0)
                out["bit_least"], out["bit_most"] = round(b.min().item(), 3), round(b.max().item(), 3)
        self.net.p = now
        self.net.norm_silu, self.net.ada_norm = fused
        return out

    def report(self, what):
        line = json.dumps(what)
        print(line, flush=True)
        self.log.write(line + "\n")
        self.log.flush()

    def run(self):
        a = self.a
        s = self.source
        s.val["world"], s.val["control"] = s.world.validation(32), s.control.validation(16)
        if a.init:
            self.report({"step": self.optim.step, **self.validate()})
        begin = time.time()
        self.step()
        self.capture()
        self.sync()
        print(f"first step {time.time() - begin:.1f} s, {s.world.count} playground clips", flush=True)
        begin, before, looked = time.time(), self.spent, time.time()
        last_step, last_time = self.optim.step, begin
        while self.spent - before < a.seconds and self.spent < a.total:
            terms = self.step()
            self.spent = before + time.time() - begin
            if self.optim.step % a.log_every == 0:
                v = terms.tolist()
                now = time.time()
                names = ("l1", "l2", "perceptual", "token", "use", "commit", "l2_image", "grad")
                self.report({"step": self.optim.step, "seconds": round(self.spent, 1),
                             "psnr": round(10 * math.log10(4 / (v[1] + 1e-9)), 3),
                             **{n: round(x, 5) for n, x in zip(names, v)},
                             "clips_s": round(a.batch * (self.optim.step - last_step) / (now - last_time)),
                             "made": s.world.made})
                slow = a.batch * (self.optim.step - last_step) / (now - last_time) < a.least
                last_step, last_time = self.optim.step, now
                if slow and self.spent - before > 8:
                    raise SystemExit("slower than --least")
                if not math.isfinite(v[0]):
                    raise SystemExit("the loss is no number")
            if time.time() - looked > a.look_every:
                pause = time.time()
                self.finish()
                looked = time.time()
                begin += looked - pause
                last_time = looked
        self.finish()
        if a.state:
            torch.save({"optim": self.optim.state(), "spent": self.spent}, a.state)
        s.world.close()
        s.control.close()

    def weights(self):
        """What ships: averages of what learns, the rest as it came; in the order of declaration."""
        averaged = self.optim.averaged()
        return {k: averaged.get(k, v) for k, v in self.net.p.items()}

    def sync(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def finish(self):
        self.report({"step": self.optim.step, "seconds": round(self.spent, 1), **self.validate()})
        write_weights(os.path.join(self.a.out, "video.safetensors"), self.weights())


def fixture(path):
    """Sixteen steps of a tiny network on three batches in turn, f64: what the C trainer must follow
    (tests/golden/test_golden_video_curve.c)."""
    from safetensors.torch import save_file
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(3)
    net = twin_video.VideoTwin(twin_video.TINY)
    net.p = {k: v.bfloat16().double() for k, v in net.p.items()}
    out = {"w." + k: v.bfloat16() for k, v in net.p.items()}
    grid = torch.arange(16).view(1, 1, 16, 1, 1) / 3 + torch.arange(32).view(1, 1, 1, 32, 1) / 5
    move = torch.arange(9).view(1, 9, 1, 1, 1) / 4
    phase = torch.rand(3, 2, 1, 1, 1, 3) * 6
    x = torch.sin(grid + move + phase) * 0.7
    x = (x + 0.15 * torch.randn(x.shape)).bfloat16()
    optim = Optimiser(net.p, ema=0.9)
    optim.work = torch.float64
    curve = []
    for i in range(16):
        now = x[i % 3].double()
        z = net.encode(now)
        z = z * torch.rsqrt(z.square().mean(-1, keepdim=True) + 1e-6)
        d = net.decode(twin_video.quantise(z)) - now
        l1, l2 = d.abs().mean(), d.square().mean()
        _, token, batch, commit = twin_video.lfq_loss(z, 1.0, 1.0)
        (L1 * l1 + L2 * l2 + COMMIT * commit + ENTROPY * (token - batch)).backward()
        norm = optim.update(optim.rates(1e-3, 3e-3))
        curve.append(torch.stack([l1, l2, token, batch, commit, norm]).detach().float())
        print(i, [round(v, 6) for v in curve[-1].tolist()], "least |z|", z.abs().min().item())
    out |= {"x": x.flatten(0, 1), "curve": torch.stack(curve)}
    out |= {"e." + k: v.float() for k, v in optim.averaged().items()}
    save_file({k: v.contiguous() for k, v in out.items()}, path)


def arguments():
    p = argparse.ArgumentParser()
    numbers = lambda s: [int(v) for v in s.split(",")]
    p.add_argument("--data", nargs="*", help="tars of twin_pack_video.py; none: playground alone")
    p.add_argument("--ffmpeg", default="ffmpeg")
    p.add_argument("--init")
    p.add_argument("--fixture", help="write what the C test compares itself with, and leave")
    p.add_argument("--ruler", help="squeezenet_v1.1.safetensors")
    p.add_argument("--world", default=".data/world_frames")
    p.add_argument("--out", default=".")
    p.add_argument("--state")
    p.add_argument("--device", default="cuda")
    p.add_argument("--blocks", type=numbers, default=[4, 3])
    p.add_argument("--decoder-blocks", type=numbers, default=[0, 0], help="0: as --blocks")
    p.add_argument("--decoder-only", action="store_true", help="the encoder stays to the bit")
    p.add_argument("--channels", type=numbers, default=[96, 256])
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--workers", type=int, default=11)
    p.add_argument("--seconds", type=float, default=60)
    p.add_argument("--total", type=float, help="seconds of the whole run (default --seconds)")
    p.add_argument("--anneal", type=float, default=0.45)
    p.add_argument("--warmup", type=int, default=100)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--muon-lr", type=float, default=3e-3)
    p.add_argument("--ema", type=float, default=0.999)
    p.add_argument("--perceptual", type=float, default=0.006)
    p.add_argument("--perceptual-end", type=float)
    p.add_argument("--looks", type=int, default=2, help="frames of a clip that the ruler sees")
    p.add_argument("--log-every", type=int, default=50)
    p.add_argument("--look-every", type=float, default=60)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--no-graph", dest="graph", action="store_false")
    p.add_argument("--least", type=float, default=0, help="stop early below so many clips a second")
    p.add_argument("--no-compile", dest="compile", action="store_false")
    a = p.parse_args()
    a.total = a.total or a.seconds
    a.perceptual_end = a.perceptual if a.perceptual_end is None else a.perceptual_end
    return a


def main():
    a = arguments()
    if a.fixture:
        return fixture(a.fixture)
    torch.manual_seed(a.seed)
    random.seed(a.seed)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True
    os.makedirs(a.out, exist_ok=True)
    Trainer(a).run()


if __name__ == "__main__":
    main()
