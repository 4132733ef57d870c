"""Independent twin of model/lm.c in PyTorch, written from the equations of lm.h.

Writes lm_tiny.safetensors: a random network, a batch of two sequences, and what must come out of it:
hidden states, mean cross-entropy of each head, gradients of their weighted sum. Weights are exact in
bf16, gradients are stored in f16.

    python tests/golden/twin_lm.py tests/golden/lm_tiny.safetensors
"""
import math
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

LAYERS, DIM, HEADS, FFN, COND = 2, 64, 2, 32, 16
SPECIALS, BITS, LEVELS, CODES, PIECES, BASE = 20, 8, 2, 8, 12, 100.0
HALF = 1 << (BITS // 2)
VIDEO = SPECIALS
AUDIO = VIDEO + (1 << BITS)
TEXT = AUDIO + LEVELS * CODES
EPS = 1e-6
WEIGHTS = {"special": 0.5, "video_lo": 1.0, "video_hi": 1.0, "audio.0": 0.7, "audio.1": 0.3}


def parameters():
    g = torch.Generator().manual_seed(1)
    shapes = {"special.weight": (SPECIALS, DIM), "video_lo.weight": (HALF, DIM),
              "video_hi.weight": (HALF, DIM), "text.weight": (PIECES, DIM),
              "norm.gain": (DIM,), "head_lo.weight": (HALF, DIM), "cond.lo.weight": (HALF, DIM),
              "cond.norm.gain": (DIM,), "cond.up.weight": (2 * COND, DIM),
              "cond.down.weight": (DIM, COND), "cond.head_norm.gain": (DIM,),
              "cond.head.weight": (HALF, DIM)}
    for q in range(LEVELS):
        shapes[f"audio.{q}.weight"] = (CODES, DIM)
    for i in range(LAYERS):
        p = f"layers.{i}."
        shapes.update({p + "attn_norm.gain": (DIM,), p + "qkv.weight": (3 * DIM, DIM),
                       p + "attn.q_gain": (DIM // HEADS,), p + "attn.k_gain": (DIM // HEADS,),
                       p + "out.weight": (DIM, DIM), p + "mlp_norm.gain": (DIM,),
                       p + "up.weight": (2 * FFN, DIM), p + "down.weight": (DIM, FFN)})
    out = {}
    for name, shape in shapes.items():
        x = torch.randn(shape, generator=g)
        out[name] = 1 + 0.1 * x if len(shape) == 1 else x / math.sqrt(shape[1])
    return {k: v.bfloat16().float().requires_grad_() for k, v in out.items()}


def rms(x, gain):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + EPS) * gain


def angles(pos):
    half = DIM // HEADS // 2
    t = half // 4
    y = (half - t) // 2
    parts = []
    for axis, n in enumerate((t, y, half - t - y)):
        freq = BASE ** (-torch.arange(n, dtype=torch.float64) / n)
        parts.append(pos[:, axis : axis + 1].double() * freq)
    return torch.cat(parts, 1).float()


def rotate(x, a):
    """x [T][heads][d]; pairs (i, i + d/2)."""
    c, s = torch.cos(a)[:, None], torch.sin(a)[:, None]
    u, v = x.chunk(2, -1)
    return torch.cat([u * c - v * s, u * s + v * c], -1)


def embed(w, ids):
    rows = []
    for i in ids.tolist():
        if i < VIDEO:
            rows.append(w["special.weight"][i])
        elif i < AUDIO:
            code = i - VIDEO
            rows.append(w["video_lo.weight"][code % HALF] + w["video_hi.weight"][code // HALF])
        elif i < TEXT:
            code = i - AUDIO
            rows.append(w[f"audio.{code // CODES}.weight"][code % CODES])
        else:
            rows.append(w["text.weight"][i - TEXT])
    return torch.stack(rows)


def swiglu(x):
    gate, up = x.chunk(2, -1)
    return F.silu(gate) * up


def forward(w, ids, pos, prefix):
    n = len(ids)
    i, j = torch.arange(n)[:, None], torch.arange(n)[None]
    seen = (j <= i) | (j < prefix)
    a = angles(pos)
    x = embed(w, ids)
    for layer in range(LAYERS):
        p = f"layers.{layer}."
        q, k, v = (rms(x, w[p + "attn_norm.gain"]) @ w[p + "qkv.weight"].T).chunk(3, -1)
        q, k, v = (t.view(n, HEADS, -1) for t in (q, k, v))
        q = rotate(rms(q, w[p + "attn.q_gain"]), a)
        k = rotate(rms(k, w[p + "attn.k_gain"]), a)
        score = torch.einsum("ihd,jhd->hij", q, k) / math.sqrt(DIM // HEADS)
        score = score.masked_fill(~seen, float("-inf")).softmax(-1)
        y = torch.einsum("hij,jhd->ihd", score, v).reshape(n, DIM)
        x = x + y @ w[p + "out.weight"].T
        h = rms(x, w[p + "mlp_norm.gain"]) @ w[p + "up.weight"].T
        x = x + swiglu(h) @ w[p + "down.weight"].T
    return rms(x, w["norm.gain"])


def losses(w, hidden, ids, target):
    """Per group: list of nats."""
    out = {k: [] for k in WEIGHTS}

    def nats(h, weight, label):
        return F.cross_entropy((h @ weight.T)[None], torch.tensor([label]))

    for p in range(1, len(ids)):
        if not target[p]:
            continue
        h, i = hidden[p - 1], int(ids[p])
        if i < VIDEO:
            out["special"].append(nats(h, w["special.weight"], i))
        elif i < AUDIO:
            lo, hi = (i - VIDEO) % HALF, (i - VIDEO) // HALF
            out["video_lo"].append(nats(h, w["head_lo.weight"], lo))
            u = h + w["cond.lo.weight"][lo]
            v = u + swiglu(rms(u, w["cond.norm.gain"]) @ w["cond.up.weight"].T) @ w[
                "cond.down.weight"].T
            v = rms(v, w["cond.head_norm.gain"])
            out["video_hi"].append(nats(v, w["cond.head.weight"], hi))
        else:
            q, code = divmod(i - AUDIO, CODES)
            out[f"audio.{q}"].append(nats(h, w[f"audio.{q}.weight"], code))
    return out


def sequences():
    g = torch.Generator().manual_seed(2)

    def draw(lowest, n, count):
        return (lowest + torch.randint(n, (count,), generator=g)).tolist()

    out = []
    for text, frames in ((5, 2), (0, 3)):
        prefix = [1, 4] + ([3] + draw(TEXT, PIECES, text) + [5] if text else [])
        video = draw(VIDEO, 1 << BITS, 4 * frames)
        sound = draw(AUDIO, CODES, 3) + draw(AUDIO + CODES, CODES, 3)
        ids = prefix + [9] + video + [10, 11] + sound + [12, 2]
        target = [int(i >= len(prefix) and v not in (9, 11)) for i, v in enumerate(ids)]
        pos = torch.stack([torch.arange(len(ids)) + (torch.randint(9, (len(ids),), generator=g))
                           for _ in range(3)], 1)
        out.append((ids, pos, target, len(prefix)))
    return out


def main():
    w = parameters()
    data = sequences()
    length = max(len(s[0]) for s in data)
    total = {k: [] for k in WEIGHTS}
    hidden = torch.zeros(2, length, DIM)
    for n, (ids, pos, target, prefix) in enumerate(data):
        h = forward(w, torch.tensor(ids), pos, prefix)
        hidden[n, : len(ids)] = h.detach()
        for k, v in losses(w, h, ids, target).items():
            total[k] += v
    means = {k: torch.stack(v).mean() for k, v in total.items()}
    sum(WEIGHTS[k] * m for k, m in means.items()).backward()
    pad = lambda x, n, fill=0: list(x) + [fill] * (n - len(x))
    t = {"w." + k: v.detach().bfloat16() for k, v in w.items()}
    t.update({"g." + k: v.grad.half() for k, v in w.items()})
    t["hidden"] = hidden
    t["loss"] = torch.stack([means[k].detach() for k in WEIGHTS])
    t["weight"] = torch.tensor(list(WEIGHTS.values()))
    i32 = lambda x: torch.tensor(x, dtype=torch.int32)
    t["config"] = i32([LAYERS, DIM, HEADS, FFN, COND, SPECIALS, BITS, LEVELS, CODES, PIECES,
                       int(BASE)])
    t["ids"] = i32([pad(s[0], length) for s in data])
    t["target"] = i32([pad(s[2], length) for s in data])
    t["pos"] = i32([pad(s[1].tolist(), length, [0, 0, 0]) for s in data])
    t["prefix"] = i32([s[3] for s in data])
    t["length"] = i32([len(s[0]) for s in data])
    save_file({k: v.contiguous() for k, v in t.items()}, sys.argv[1])


if __name__ == "__main__":
    main()
