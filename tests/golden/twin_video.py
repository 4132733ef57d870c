"""PyTorch twin of the video tokenizer: the independent definition the C code is checked against.

Same parameter names and layouts as tokenizers/video*.c: activations [n][t][h][w][c], convolution
weights [cout][kt][kh][kw][cin]. Run as a program it writes the fixtures tests/golden/video_*.
"""
import sys

import torch
import torch.nn.functional as F

GN_EPS = 1e-6

DEFAULT = dict(bits=18, haar=1, factorised=1, levels=2, channels=[96, 256], blocks=[4, 3],
               down_t=[1], down_s=[2], mid_blocks=0, groups=8)
PAPER = dict(bits=18, haar=0, factorised=0, levels=4, channels=[128, 256, 256, 512],
             blocks=[4, 4, 4, 4], down_t=[1, 2, 2], down_s=[2, 2, 2], mid_blocks=4, groups=32)
TINY = dict(bits=6, haar=1, factorised=1, levels=2, channels=[8, 16], blocks=[1, 1], down_t=[1],
            down_s=[2], mid_blocks=0, groups=4)
FULL = dict(bits=5, haar=0, factorised=0, levels=4, channels=[4, 4, 6, 6], blocks=[1, 1, 1, 1],
            down_t=[1, 2, 2], down_s=[2, 2, 2], mid_blocks=1, groups=2)


def same_pad(size, kernel, stride):
    """Zeros before and behind an axis so that the output has ceil(size / stride) places."""
    missing = max(0, ((size - 1) // stride) * stride + kernel - size)
    return missing // 2, missing - missing // 2


def conv(x, weight, bias=None, stride=(1, 1, 1)):
    """Causal convolution: zeros in front in time, half before and half behind in space."""
    kt, kh, kw = weight.shape[1:4]
    weight = weight.to(x.dtype)
    bias = None if bias is None else bias.to(x.dtype)
    n, t, h, w, c = x.shape
    if (kt, kh, kw) == (1, 1, 1) and stride == (1, 1, 1):
        return F.linear(x, weight.reshape(weight.shape[0], c), bias)
    ph, pw = same_pad(h, kh, stride[1]), same_pad(w, kw, stride[2])
    half = (kh // 2, kw // 2)
    if ph[0] != ph[1] or pw[0] != pw[1]:
        x = F.pad(x, (0, 0, *pw, *ph))
        n, t, h, w, c = x.shape
        half = (0, 0)
    if kt == 1 and stride[0] == 1:
        y = F.conv2d(x.reshape(n * t, h, w, c).permute(0, 3, 1, 2), weight[:, 0].permute(0, 3, 1, 2),
                     bias, stride[1:], half).permute(0, 2, 3, 1)
        return y.reshape(n, t, *y.shape[1:])
    x = F.pad(x, (0, 0, 0, 0, 0, 0, kt - 1, 0))
    if kh == kw == 1 and stride == (1, 1, 1):
        y = F.conv2d(x.reshape(n, t + kt - 1, h * w, c).permute(0, 3, 1, 2),
                     weight[:, :, :, 0].permute(0, 3, 1, 2), bias).permute(0, 2, 3, 1)
        return y.reshape(n, t, h, w, -1)
    y = F.conv3d(x.permute(0, 4, 1, 2, 3), weight.permute(0, 4, 1, 2, 3), bias, stride, (0, *half))
    return y.permute(0, 2, 3, 4, 1)


def group_norm(x, groups, gain=None, bias=None):
    """Statistics per frame: time is folded into the batch."""
    n, t, h, w, c = x.shape
    y = x.reshape(n * t, h, w, c).permute(0, 3, 1, 2)
    gain = None if gain is None else gain.to(x.dtype)
    bias = None if bias is None else bias.to(x.dtype)
    return F.group_norm(y, groups, gain, bias, GN_EPS).permute(0, 2, 3, 1).reshape(x.shape)


def depth_to_space(x, ft, fh, fw):
    """[n][t][h][w][ft fh fw c] -> [n][t ft - (ft - 1)][h fh][w fw][c]."""
    n, t, h, w, d = x.shape
    c = d // (ft * fh * fw)
    x = x.reshape(n, t, h, w, ft, fh, fw, c).permute(0, 1, 4, 2, 5, 3, 6, 7)
    return x.reshape(n, t * ft, h * fh, w * fw, c)[:, ft - 1:]


def upsample(x, ft, f):
    """Nearest, with the first ft - 1 frames dropped."""
    if ft == 1 and f == 1:
        return x
    return x.repeat_interleave(ft, 1)[:, ft - 1:].repeat_interleave(f, 2).repeat_interleave(f, 3)


def hadamard(like):
    """Two levels of the 2-tap Haar filter that split every band: rows LL, LH, HL, HH."""
    return torch.tensor([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]],
                        dtype=like.dtype, device=like.device) / 2


def haar(x):
    """Pixels [n][1 + 4(t - 1)][4h][4w][3] -> [n][t][h][w][192], the first frame repeated."""
    m = hadamard(x)
    x = torch.cat([x[:, :1].expand(-1, 3, -1, -1, -1), x], 1)
    n, t, h, w, c = x.shape
    x = x.reshape(n, t // 4, 4, h // 4, 4, w // 4, 4, c)
    x = torch.einsum("ia,jb,kc,ntahbwcd->nthwijkd", m, m, m, x) / 4
    return x.reshape(n, t // 4, h // 4, w // 4, 192)


def haar_inverse(x):
    m = hadamard(x)
    n, t, h, w, _ = x.shape
    x = x.reshape(n, t, h, w, 4, 4, 4, 3)
    x = torch.einsum("ia,jb,kc,nthwijkd->ntahbwcd", m, m, m, x) * 4
    x = x.reshape(n, t * 4, h * 4, w * 4, 3)
    return torch.cat([x[:, :4].mean(1, keepdim=True), x[:, 4:]], 1)


def decoder_blocks(c, level):
    return c.get("decoder_blocks", c["blocks"])[level] or c["blocks"][level]


class VideoTwin:
    """Parameters in a flat dict `p`, declared in the order of the C code."""

    def __init__(self, config):
        self.c = config
        self.p = {}
        self._declare_encoder()
        self._declare_decoder()

    # ---- declaration -------------------------------------------------------------------------
    def _conv(self, name, cin, cout, kernel, bias=True, scale=1.0):
        fan = cin * kernel[0] * kernel[1] * kernel[2]
        self.p[name + ".weight"] = torch.randn(cout, *kernel, cin) * (scale / fan ** 0.5)
        if bias:
            self.p[name + ".bias"] = torch.zeros(cout)

    def _norm(self, name, c):
        self.p[name + ".gain"] = torch.ones(c)
        self.p[name + ".bias"] = torch.zeros(c)

    def _linear(self, name, cin, cout, scale):
        self.p[name + ".weight"] = torch.randn(cout, cin) * (scale / cin ** 0.5)
        self.p[name + ".bias"] = torch.zeros(cout)

    def _block(self, name, cin, cout):
        f = self.c["factorised"]
        self._norm(name + ".norm0", cin)
        self._conv(name + ".conv0", cin, cout, (1, 3, 3) if f else (3, 3, 3), False)
        self._norm(name + ".norm1", cout)
        self._conv(name + ".conv1", cout, cout, (3, 1, 1) if f else (3, 3, 3), False, 0.5)
        if cin != cout:
            self._conv(name + ".shortcut", cin, cout, (1, 1, 1), False)

    def _edge(self):
        return (1, 3, 3) if self.c["factorised"] else (3, 3, 3)

    def _declare_encoder(self):
        c = self.c
        at = c["channels"][0]
        self._conv("encoder.stem", 192 if c["haar"] else 3, at, self._edge())
        for i in range(c["levels"]):
            for j in range(c["blocks"][i]):
                self._block(f"encoder.level{i}.block{j}", at, c["channels"][i])
                at = c["channels"][i]
            if i + 1 < c["levels"]:
                self._conv(f"encoder.level{i}.down", at, at, self._down_kernel(i))
        for j in range(c["mid_blocks"]):
            self._block(f"encoder.mid{j}", at, at)
        self._norm("encoder.out_norm", at)
        self._conv("encoder.out", at, c["bits"], (1, 1, 1))

    def _down_kernel(self, i):
        return (1, 3, 3) if self.c["factorised"] and self.c["down_t"][i] == 1 else (3, 3, 3)

    def _up(self, i):
        """Kernel and width behind the shuffle from level i to level i - 1."""
        c = self.c
        if c["factorised"]:
            return (1, 1, 1) if c["down_t"][i - 1] == 1 else (3, 1, 1), c["channels"][i - 1]
        return (3, 3, 3), c["channels"][i]

    def _declare_decoder(self):
        c = self.c
        at = c["channels"][c["levels"] - 1]
        self._conv("decoder.stem", c["bits"], at, self._edge())
        for j in range(c["mid_blocks"]):
            self._block(f"decoder.mid{j}", at, at)
        for i in reversed(range(c["levels"])):
            self._linear(f"decoder.level{i}.gamma", c["bits"], at, 0.1)
            self._linear(f"decoder.level{i}.beta", c["bits"], at, 0.1)
            for j in range(decoder_blocks(c, i)):
                self._block(f"decoder.level{i}.block{j}", at, c["channels"][i])
                at = c["channels"][i]
            if i:
                kernel, width = self._up(i)
                f = c["down_t"][i - 1] * c["down_s"][i - 1] ** 2
                self._conv(f"decoder.level{i}.up", at, f * width, kernel)
                at = width
        self._norm("decoder.out_norm", at)
        self._conv("decoder.out", at, 192 if c["haar"] else 3, self._edge(), True, 0.1)

    # ---- forward -----------------------------------------------------------------------------
    def _run_conv(self, name, x, stride=(1, 1, 1)):
        return conv(x, self.p[name + ".weight"], self.p.get(name + ".bias"), stride)

    def _run_norm(self, name, x):
        return F.silu(group_norm(x, self.c["groups"], self.p[name + ".gain"],
                                 self.p[name + ".bias"]))

    def _ada(self, x, gamma, beta):
        return group_norm(x, self.c["groups"]) * (1 + gamma) + beta

    def _run_block(self, name, x):
        h = self._run_conv(name + ".conv0", self._run_norm(name + ".norm0", x))
        h = self._run_conv(name + ".conv1", self._run_norm(name + ".norm1", h))
        if name + ".shortcut.weight" in self.p:
            x = self._run_conv(name + ".shortcut", x)
        return x + h

    def encode(self, pixels):
        """[n][1 + 4(t - 1)][8h][8w][3] in [-1, 1] -> z [n][t][h][w][bits]."""
        return self.encode_bands(haar(pixels) if self.c["haar"] else pixels)

    def encode_bands(self, x):
        c = self.c
        x = self._run_conv("encoder.stem", x)
        for i in range(c["levels"]):
            for j in range(c["blocks"][i]):
                x = self._run_block(f"encoder.level{i}.block{j}", x)
            if i + 1 < c["levels"]:
                s = c["down_s"][i]
                x = self._run_conv(f"encoder.level{i}.down", x, (c["down_t"][i], s, s))
        for j in range(c["mid_blocks"]):
            x = self._run_block(f"encoder.mid{j}", x)
        return self._run_conv("encoder.out", self._run_norm("encoder.out_norm", x))

    def decode(self, q):
        x = self.decode_bands(q)
        return haar_inverse(x) if self.c["haar"] else x

    def decode_bands(self, q):
        c = self.c
        x = self._run_conv("decoder.stem", q)
        for j in range(c["mid_blocks"]):
            x = self._run_block(f"decoder.mid{j}", x)
        ft = fs = 1
        for i in reversed(range(c["levels"])):
            name = f"decoder.level{i}"
            gamma, beta = (F.linear(q, self.p[f"{name}.{k}.weight"].to(q.dtype),
                                    self.p[f"{name}.{k}.bias"].to(q.dtype))
                           for k in ("gamma", "beta"))
            x = self._ada(x, upsample(gamma, ft, fs), upsample(beta, ft, fs))
            for j in range(decoder_blocks(c, i)):
                x = self._run_block(f"{name}.block{j}", x)
            if i:
                dt, ds = c["down_t"][i - 1], c["down_s"][i - 1]
                x = depth_to_space(self._run_conv(name + ".up", x), dt, ds, ds)
                ft, fs = ft * dt, fs * ds
        return self._run_conv("decoder.out", self._run_norm("decoder.out_norm", x))


def quantise(z):
    """Straight-through sign; 0 counts as -1."""
    return z + ((z > 0).to(z.dtype) * 2 - 1 - z).detach()


def lfq_loss(z, tau, gamma):
    """Per-bit entropy E[h(p)] - gamma h(E[p]) and commitment, each a mean over the bits."""
    z = z.reshape(-1, z.shape[-1])
    logit = 4 * z / tau
    p = torch.sigmoid(logit)
    token = (F.softplus(logit) - p * logit).mean()
    m = p.mean(0).clamp(1e-6, 1 - 1e-6)
    batch = -(m * m.log() + (1 - m) * (1 - m).log()).mean()
    commit = (z - (z > 0).to(z.dtype).mul(2).sub(1)).square().mean()
    return token - gamma * batch, token, batch, commit


def fixture(path, config, seed):
    """Weights, an input, and what must come out: z, pixels, losses, the gradient of each weight."""
    from safetensors.torch import save_file
    torch.manual_seed(seed)
    torch.set_default_dtype(torch.float64)
    net = VideoTwin(config)
    for name, p in net.p.items():
        if name.endswith(("gain", "bias")):
            p += 0.1 * torch.randn_like(p)
        net.p[name] = p.bfloat16().double().requires_grad_(True)
    x = (torch.rand(2, 9, 8, 16, 3) * 2 - 1).bfloat16().double()
    z = net.encode(x)
    q = quantise(z)
    y = net.decode(q)
    entropy, token, batch, commit = lfq_loss(z, 1.0, 1.0)
    recon = (y - x).square().mean()
    (recon + 0.1 * config["bits"] * entropy + 0.25 * commit).backward()
    assert z.abs().min() > 1e-3, "a bit too near 0 to be the same everywhere: take another seed"
    out = {"w." + k: p.detach().bfloat16() for k, p in net.p.items()}
    out |= {"g." + k: p.grad.float() for k, p in net.p.items()}
    out |= {"x": x.bfloat16(), "z": z.detach().float(), "y": y.detach().float(),
            "loss": torch.stack([recon, token, batch, commit]).detach().float()}
    save_file({k: v.contiguous() for k, v in out.items()}, path)
    print(path, sum(p.numel() for p in net.p.values()), "weights, least |z|",
          z.abs().min().item(), "losses", out["loss"].tolist())


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else "tests/golden"
    fixture(folder + "/video_tiny.safetensors", TINY, 1)
    fixture(folder + "/video_full.safetensors", FULL, 1)
    for label, config in (("paper", PAPER), ("default", DEFAULT)):
        counts = {"encoder": 0, "decoder": 0}
        for k, p in VideoTwin(config).p.items():
            counts[k.split(".")[0]] += p.numel()
        print(label, counts)
