"""Twin of src/train/train_lm.c in PyTorch: the same network, losses and optimiser, for machines with
an accelerator. It reads the clips that twin_lm_data.py packed and writes weights that the C program
loads.

    python twin_train_lm.py score PACK WEIGHTS           validation, as the C program prints it
    python twin_train_lm.py train PACK OUT --seconds N [--init WEIGHTS]
    python twin_train_lm.py join OUT MODEL               the parts OUT/lm-*.safetensors into a model
    python twin_train_lm.py golden lm_curve.safetensors  the curve that test_golden_lm.c repeats

OUT/curve.jsonl is the log, OUT/lm-0 and lm-1.safetensors the averaged weights (bf16, each below
16 MiB), written anew every minute. The schedule goes by the clock: what the time allows is annealed.
"""
import argparse
import glob
import hashlib
import json
import math
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

import twin_lm_data as data

EPS, Z_LOSS, WEIGHT_SPECIAL = 1e-6, 1e-4, 0.1
WORDS_WEIGHT, PAIR_LEAST = 4.0, 512  # a pair has no fewer positions
MOMENTUM, NEWTON = 0.95, (3.4445, -4.7750, 2.0315)
VAL_KINDS = (("video", "video"), ("video_sound", "sound"), ("predict", "video"),
             ("image", "video"), ("stylize", "video"))
EMBEDDINGS = ("video_lo.weight", "video_hi.weight", "text.weight", "cond.lo.weight")


class Shape:
    """Sizes of the network, read off its weights; base: of the rotary frequencies."""

    def __init__(self, w, base=10000.0):
        self.dim = w["norm.gain"].numel()
        self.head = w["layers.0.attn.q_gain"].numel()
        self.heads = self.dim // self.head
        self.layers = sum(k.endswith("attn_norm.gain") for k in w)
        self.levels = sum(k.startswith("audio.") for k in w)
        self.half = w["head_lo.weight"].shape[0]
        self.codes = w["audio.0.weight"].shape[0]
        self.video = w["special.weight"].shape[0]
        self.audio = self.video + self.half ** 2
        self.text = self.audio + self.levels * self.codes
        half = self.head // 2
        t = half // 4
        y = (half - t) // 2
        self.axes = (t, y, half - t - y)
        self.freq = [[base ** (-i / n) for i in range(n)] for n in self.axes]


# ---- The network ----------------------------------------------------------------------------------

def rms(x, gain):
    return F.rms_norm(x.float(), (x.shape[-1],), gain, EPS)


def rotate(x, c, s):
    u, v = x.chunk(2, -1)
    return torch.cat([u * c - v * s, u * s + v * c], -1)


def swiglu(x):
    gate, up = x.chunk(2, -1)
    return F.silu(gate) * up


def block(x, c, s, mask, heads, attend, w):
    """x [rows][len][dim]; w: the weights of a layer in the order of LAYER."""
    attn_norm, qkv, q_gain, k_gain, out, mlp_norm, up, down = w
    y = F.linear(rms(x, attn_norm), qkv)
    q, k, v = y.view(*x.shape[:2], 3, heads, -1).transpose(1, 3).unbind(2)
    q, k = rotate(rms(q, q_gain), c, s), rotate(rms(k, k_gain), c, s)
    y = attend(q.to(v.dtype), k.to(v.dtype), v, mask)
    x = x + F.linear(y.transpose(1, 2).reshape(x.shape), out)
    return x + F.linear(swiglu(F.linear(rms(x, mlp_norm), up)), down)


LAYER = ("attn_norm.gain", "qkv.weight", "attn.q_gain", "attn.k_gain", "out.weight",
         "mlp_norm.gain", "up.weight", "down.weight")


def nats_of(logits, label):
    """Cross-entropy and the squared log of the sum, of each row."""
    z = torch.logsumexp(logits.float(), -1)
    return z - logits.float().gather(-1, label[:, None])[:, 0], z * z


def video_nats(h, lo, hi, head_lo, cond):
    """h [rows][dim] -> nats of both halves [rows] each, and the sum of their squares of z."""
    e, norm, up, down, head_norm, head = cond
    a, za = nats_of(F.linear(h, head_lo), lo)
    u = h + F.embedding(lo, e)
    v = u + F.linear(swiglu(F.linear(rms(u, norm), up)), down)
    b, zb = nats_of(F.linear(rms(v, head_norm), head), hi)
    return a, b, za + zb


COND = ("cond.lo.weight", "cond.norm.gain", "cond.up.weight", "cond.down.weight",
        "cond.head_norm.gain", "cond.head.weight")


def dense_mask(doc, in_prefix):
    """[rows][1][len][len]: what position i (first) sees of j. doc: which sequence of the row."""
    n = doc.shape[1]
    i, j = torch.arange(n, device=doc.device)[:, None], torch.arange(n, device=doc.device)[None]
    seen = (j <= i)[None] | in_prefix[:, None, :]
    return (seen & (doc[:, :, None] == doc[:, None, :]))[:, None]


def attend_dense(q, k, v, mask):
    return F.scaled_dot_product_attention(q, k, v, mask)


class BlockMasks:
    """The same mask as blocks of 128 for flex attention; the tensors it reads stay where they are,
    so that one compiled kernel serves all batches."""

    def __init__(self, rows, length, device):
        from torch.nn.attention.flex_attention import create_block_mask
        self.doc = torch.zeros(rows, length, dtype=torch.int32, device=device)
        self.in_prefix = torch.zeros(rows, length, dtype=torch.bool, device=device)
        self.make = create_block_mask  # compiled it is one huge reduction: Triton takes minutes
        doc, in_prefix = self.doc, self.in_prefix

        def seen(b, h, i, j):
            return (doc[b, i] == doc[b, j]) & ((j <= i) | in_prefix[b, j])
        self.seen = seen

    def __call__(self, doc, in_prefix):
        self.doc.copy_(doc)
        self.in_prefix.copy_(in_prefix)
        rows, length = doc.shape
        return self.make(self.seen, rows, None, length, length, device=doc.device)


def attend_blocks(q, k, v, mask):
    from torch.nn.attention.flex_attention import flex_attention
    # contiguous: compiled on views it gave wrong sums (torch 2.15, CPU)
    return flex_attention(q.contiguous(), k.contiguous(), v.contiguous(), block_mask=mask)


class Network:
    """how: "flex" (compiled, block masks), "dense" (compiled, whole masks), "plain"."""

    def __init__(self, w, shape, device, how="plain", rows=0, length=0):
        self.w, self.shape = w, shape
        self.freq = [torch.tensor(f, dtype=torch.float64).float().to(device) for f in shape.freq]
        self.block, self.video_nats, self.mask, self.attend = (block, video_nats, dense_mask,
                                                               attend_dense)
        if how != "plain":
            self.block = torch.compile(block, dynamic=False)
            self.video_nats = torch.compile(video_nats, dynamic=False)
        if how == "flex":
            self.mask, self.attend = BlockMasks(rows, length, device), attend_blocks

    def hidden(self, b):
        """Batch (tensors of `pack_rows`) -> [rows * len][dim] behind the last norm."""
        w, n = self.w, self.shape
        a = torch.cat([b["pos"][..., i : i + 1].float() * f for i, f in enumerate(self.freq)], -1)
        c, s = torch.cos(a)[:, None], torch.sin(a)[:, None]
        mask = self.mask(b["doc"], b["in_prefix"])
        tables = torch.cat([w["special.weight"]] + [w[f"audio.{q}.weight"] for q in
                                                    range(n.levels)] + [w["text.weight"]])
        ids = b["ids"].long()
        video = (ids >= n.video) & (ids < n.audio)
        code = (ids - n.video).clamp(0, n.half ** 2 - 1)
        both = F.embedding(code % n.half, w["video_lo.weight"]) + F.embedding(
            code // n.half, w["video_hi.weight"])
        other = F.embedding(torch.where(ids < n.video, ids, ids - n.half ** 2).clamp(
            0, tables.shape[0] - 1), tables)
        x = torch.where(video[..., None], both, other)
        for i in range(n.layers):
            layer = tuple(w[f"layers.{i}.{k}"] for k in LAYER)
            x = self.block(x, c, s, mask, n.heads, self.attend, layer)
        return rms(x, w["norm.gain"]).flatten(0, 1)

    def losses(self, b):
        """-> loss, and per group the nats of each position that has a target there (else 0):
        {name: (rows [n], nats [n])}."""
        w, n = self.w, self.shape
        h = self.hidden(b)
        ids = torch.roll(b["ids"].long().flatten(), -1)
        hit = torch.roll(b["target"].flatten(), -1)
        video = hit & (ids >= n.video) & (ids < n.audio)
        code = torch.where(video, ids - n.video, 0)
        lo, hi, z = self.video_nats(h, code % n.half, code // n.half, w["head_lo.weight"],
                                    tuple(w[k] for k in COND))
        pair = torch.roll(b["pair"].flatten(), -1)  # of that target
        other = video & (pair > 0) & (pair % 2 == 1)
        total = torch.where(video & ~other, lo + hi + Z_LOSS * z, 0).sum()
        apart = self.apart(torch.where(video, lo + hi, 0), torch.where(video, pair, -1))
        total = total + WORDS_WEIGHT * F.softplus(-apart).sum()
        out = {"video_lo": (video & ~other, lo), "video_hi": (video & ~other, hi)}
        for name, first, weight in [("special", 0, WEIGHT_SPECIAL)] + [
                (f"audio.{q}", n.audio + q * n.codes, 1.0) for q in range(n.levels)]:
            table = w[name + ".weight"]
            at = b["group." + name]  # fixed size; -1: none
            real = at >= 0
            row = torch.where(real, at, torch.arange(at.numel(), device=at.device))  # no row often:
            # the gradient of an indexed row that repeats is summed one by one
            nats, z = nats_of(F.linear(h[row], table),
                              torch.where(real, ids[row] - first, 0))
            total = total + weight * torch.where(real, nats + Z_LOSS * z, 0).sum()
            out[name] = (at, nats)
        out["apart"] = apart
        return total / (hit & ~other).sum().clamp(min=1), out

    def apart(self, nats, pair):
        """Nats of each pair's picture under the other's words minus those under its own; 1e4
        where there is no such pair (it costs nothing)."""
        room = pair.numel() // PAIR_LEAST
        sums = torch.zeros(room * 2 + 1, device=nats.device).index_add(
            0, torch.where(pair >= 0, pair, room * 2), nats.float())
        seen = torch.zeros(room * 2 + 1, device=nats.device).index_fill(
            0, torch.where(pair >= 0, pair, room * 2), 1.0)
        own, other = sums[:-1].view(-1, 2).unbind(1)
        return torch.where(seen[0 : 2 * room : 2] > 0, other - own, 1e4)


# ---- Batches --------------------------------------------------------------------------------------

def groups_of(shape):
    return [("special", 0, shape.video)] + [
        (f"audio.{q}", shape.audio + q * shape.codes, shape.codes) for q in range(shape.levels)]


def to_device(b, device):
    out = {}
    for k, v in b.items():
        t = torch.from_numpy(v)
        out[k] = t.pin_memory().to(device, non_blocking=True) if device == "cuda" else t
    return out


# ---- The optimiser --------------------------------------------------------------------------------

def is_muon(name, p):
    tied = name.startswith(("special", "audio", "head_lo", "cond.head.")) or name in EMBEDDINGS
    return p.ndim == 2 and not tied


def newton_schulz(x):
    """x [n][rows][cols], in float32 or bf16."""
    a, b, c = NEWTON
    tall = x.shape[1] > x.shape[2]
    x = x.transpose(1, 2) if tall else x
    x = x / x.flatten(1).norm(dim=1)[:, None, None].clamp(min=1e-30)
    for _ in range(5):
        g = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(g, g, g, beta=b, alpha=c), x, beta=a)
    return x.transpose(1, 2) if tall else x


class Optimiser:
    """src/train/optim.c: clip, Muon on hidden matrices, AdamW on the rest, averaged weights."""

    def __init__(self, w, r):
        self.w, self.r, self.step_count = w, r, 0
        self.names = list(w)
        self.m = {k: torch.zeros_like(p) for k, p in w.items()}
        self.adam = [k for k in w if not is_muon(k, w[k])]
        self.v = {k: torch.zeros_like(w[k]) for k in self.adam}
        self.ema = {k: p.detach().clone() for k, p in w.items()}
        shapes = {}
        for k in w:
            if k not in self.v:
                shapes.setdefault(tuple(w[k].shape), []).append(k)
        self.muon = list(shapes.values())
        self.decayed = [k for k in self.adam if k.endswith(".weight") and k not in EMBEDDINGS]

    @torch.no_grad()
    def step(self, f):
        """f: the schedule, a share of the peak rates. Returns the norm before clipping."""
        w, r = self.w, self.r
        self.step_count += 1
        grads = [w[k].grad for k in self.names]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        scale = torch.where(norm > r["clip"], r["clip"] / norm, 1.0)
        torch._foreach_mul_(grads, scale)
        lost = ~torch.isfinite(norm)  # nothing is learnt from such a step
        for g in grads:
            g.masked_fill_(lost, 0.0)
        for names in self.muon:
            self.muon_step(names, f * r["muon_lr"])
        self.adam_step(f * r["lr"])
        rate = min(r["ema"], (1 + self.step_count) / (10 + self.step_count))
        torch._foreach_lerp_([self.ema[k] for k in self.names], [w[k] for k in self.names],
                             1 - rate)
        for g in grads:
            g.zero_()
        return norm

    @torch.no_grad()
    def swap(self):
        """Exchange the weights and their average."""
        for k, p in self.w.items():
            old = p.detach().clone()
            p.copy_(self.ema[k])
            self.ema[k].copy_(old)

    def muon_step(self, names, lr):
        g, m = [self.w[k].grad for k in names], [self.m[k] for k in names]
        torch._foreach_mul_(m, MOMENTUM)
        torch._foreach_add_(m, g)
        torch._foreach_add_(g, m, alpha=MOMENTUM)
        x = torch.stack(g)
        x = newton_schulz(x.bfloat16() if x.is_cuda else x).float()
        p = [self.w[k] for k in names]
        torch._foreach_mul_(p, 1 - lr * self.r["weight_decay"])
        torch._foreach_add_(p, list(x.unbind()), alpha=-lr * 0.2 * math.sqrt(max(x.shape[1:])))

    def adam_step(self, lr):
        r, n = self.r, self.step_count
        p, g = [self.w[k] for k in self.adam], [self.w[k].grad for k in self.adam]
        m, v = [self.m[k] for k in self.adam], [self.v[k] for k in self.adam]
        torch._foreach_mul_([self.w[k] for k in self.decayed], 1 - lr * r["weight_decay"])
        torch._foreach_lerp_(m, g, 1 - r["beta1"])
        torch._foreach_mul_(v, r["beta2"])
        torch._foreach_addcmul_(v, g, g, 1 - r["beta2"])
        d = torch._foreach_div(v, 1 - r["beta2"] ** n)
        torch._foreach_sqrt_(d)
        torch._foreach_add_(d, r["eps"])
        torch._foreach_addcdiv_(p, m, d, -lr / (1 - r["beta1"] ** n))


def schedule(step, warmup, decay, share=0.0, steps=0):
    """Warm up, hold, anneal: rlm_schedule when `steps` are known, else by the share of the time."""
    f = min(1.0, step / warmup) if warmup else 1.0
    left, tail = (steps - step + 1, decay * steps) if steps else (1 - share, decay)
    if left <= tail:
        done = (tail - left + 1) / (tail + 1) if steps else 1 - left / tail
        f *= max(1e-4, 1 - math.sqrt(min(1.0, done)))
    return f


# ---- Validation -----------------------------------------------------------------------------------

def validation(store, kinds=VAL_KINDS, most=32):
    """As judge() of train_lm.c: {(source, kind): [sequence]}, and pairs for `words`: the pictures of
    playground clips with their own caption, another's, none."""
    out = {}
    d = store.d
    held = [store.clip(i) for i in np.flatnonzero((d["clips"][:, 1] != 0) & (d["clips"][:, 2] > 0))]
    for source in (data.REAL, data.PLAYGROUND):
        of = [c for c in held if c.source == source]
        for name, _ in kinds:
            kind = data.KINDS.index(name)
            fit = [c for c in of if data.suits(kind, c.views[0])][:most]
            out[source, name] = [data.sequence(
                kind, c.views[0], caption(c), source, np.random.default_rng(i))
                for i, c in enumerate(fit)]
    of = [c for c in held if c.source == data.PLAYGROUND][:most]
    for name, text in (("own", lambda i: caption(of[i])),
                       ("other", lambda i: caption(of[(i + 1) % len(of)])), ("none", lambda i: ())):
        out["words", name] = [data.sequence(data.KINDS.index("image"), of[i].views[0], text(i), -1,
                                            None) for i in range(len(of))]
    return out


def caption(c):
    return c.text[0] if len(c.text[0]) else c.text[1]


def evaluate(net, sequences, count, length, device, amp):
    """Mean nats: {"video": of a code, "sound": of a code}, and of video codes of each frame."""
    sums, frames = {}, np.zeros((8, 2))
    rows, at = [[] for _ in range(count)], 0

    def run():
        b = data.pack_rows(rows, length, groups_of(net.shape))
        with torch.autocast(device, torch.bfloat16, enabled=amp):
            _, out = net.losses(to_device(b, device))
        del out["apart"]
        for name, (where, nats) in out.items():
            where, nats = where.cpu().numpy(), nats.detach().float().cpu().numpy()
            good = where if where.dtype == bool else where >= 0
            key = name.split(".")[0]
            s = sums.setdefault(key, [0.0, 0])
            s[0] += float(nats[good].sum(dtype=np.float64))
            s[1] += int(good.sum())
            if name.startswith("video"):  # position of a code in its sequence's output
                doc, hit = b["doc"].ravel(), np.roll(good, 1)
                for r in np.unique(np.flatnonzero(hit) // length):
                    for d in np.unique(doc[r * length : (r + 1) * length]):
                        sel = np.flatnonzero(hit & (doc == d) & (np.arange(len(doc)) // length
                                                                 == r))
                        frame = np.arange(len(sel)) // 256
                        np.add.at(frames[:, 0], frame, nats[sel - 1])
                        if name == "video_lo":
                            np.add.at(frames[:, 1], frame, 1)
        for row in rows:
            row.clear()

    for s in sequences:
        if len(s[0]) + sum(len(t[0]) for t in rows[at]) > length:
            at += 1
        if at == count:
            run()
            at = 0
        rows[at].append(s)
    if any(rows):
        run()
    mean = {k: s / max(n, 1) for k, (s, n) in sums.items()}
    rows_seen = frames[:, 1] > 0
    return {"video": mean["video_lo"] + mean["video_hi"] if sums["video_lo"][1] else math.nan,
            "sound": mean["audio"] if sums["audio"][1] else math.nan, "special": mean["special"],
            "frames": (frames[rows_seen, 0] / frames[rows_seen, 1]).round(4).tolist()}


def report(net, val, count, length, device, amp):
    out = {}
    what = dict(VAL_KINDS)
    for (source, name), sequences in val.items():
        if not sequences:
            continue
        e = evaluate(net, sequences, count, length, device, amp)
        if source == "words":
            out["words_" + name] = [round(e["video"], 4)] + e["frames"]
        else:
            key = ("val_world_" if source == data.PLAYGROUND else "val_") + (
                "sound" if name == "video_sound" else name)
            out[key] = round(e[what[name]], 4)
    return out


# ---- Weights --------------------------------------------------------------------------------------

KINDS_OF_NUMBER = {"F32": torch.float32, "BF16": torch.bfloat16, "I32": torch.int32}


def load_file(path):
    """safetensors, read and written here: the machine may lack the package."""
    with open(path, "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        rest = torch.frombuffer(bytearray(f.read()), dtype=torch.uint8)
    return {k: rest[slice(*v["data_offsets"])].clone().view(KINDS_OF_NUMBER[v["dtype"]]).view(
        v["shape"]) for k, v in header.items() if k != "__metadata__"}


def save_file(tensors, path):
    header, at, names = {}, 0, {v: k for k, v in KINDS_OF_NUMBER.items()}
    for k, v in tensors.items():
        end = at + v.numel() * v.element_size()
        header[k] = {"dtype": names[v.dtype], "shape": list(v.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for v in tensors.values():
            f.write(v.contiguous().view(torch.uint8).numpy().tobytes() if v.ndim else
                    v.numpy().tobytes())


def fresh_weights(pieces, seed, dim=384, layers=6, heads=6, ffn=640):
    """Initial values of the default preset, by the rules of docs/MODEL.md (other numbers)."""
    g = torch.Generator().manual_seed(seed)
    deep, cond = 1 / math.sqrt(2 * layers), dim // 2
    w = {}

    def table(name, rows, scale=1.0, cols=dim):
        w[name + ".weight"] = torch.randn(rows, cols, generator=g) * scale / math.sqrt(cols)

    for name, rows in (("special", 256), *((f"audio.{q}", 1024) for q in range(4)),
                       ("head_lo", 512), ("cond.head", 512)):
        table(name, rows, 0.5)
    for name, rows in (("video_lo", 512), ("video_hi", 512), ("text", pieces), ("cond.lo", 512),
                       ("cond.up", 2 * cond)):
        table(name, rows)
    table("cond.down", dim, 1.0, cond)
    for i in range(layers):
        table(f"layers.{i}.qkv", 3 * dim)
        table(f"layers.{i}.out", dim, deep)
        table(f"layers.{i}.up", 2 * ffn)
        table(f"layers.{i}.down", dim, deep, ffn)
        for name, n in (("attn_norm", dim), ("mlp_norm", dim)):
            w[f"layers.{i}.{name}.gain"] = torch.ones(n)
        for name in ("q_gain", "k_gain"):
            w[f"layers.{i}.attn.{name}"] = torch.ones(dim // heads)
    for name in ("norm", "cond.norm", "cond.head_norm"):
        w[name + ".gain"] = torch.ones(dim)
    return w


def read_weights(path, device):
    return {k: v.float().to(device).requires_grad_() for k, v in load_file(path).items()}


def save_parts(weights, out, parts=2):
    w = {k: v.detach().bfloat16().contiguous().cpu() for k, v in weights.items()}
    size = sum(v.numel() for v in w.values())
    cut, seen = [{} for _ in range(parts)], 0
    for k, v in w.items():
        cut[min(parts - 1, seen * parts // size)][k] = v
        seen += v.numel()
    for i, part in enumerate(cut):
        path = f"{out}/lm-{i}.safetensors"
        save_file(part, path + ".new")
        os.replace(path + ".new", path)


def join(out, model):
    """The parts as the language model of a model directory, with its entry in config.json."""
    w = {}
    for part in sorted(glob.glob(f"{out}/lm-*.safetensors")):
        w.update(load_file(part))
    save_file(w, f"{model}/lm.safetensors")
    with open(f"{model}/lm.safetensors", "rb") as f:
        sha = hashlib.sha256(f.read()).hexdigest()
    with open(f"{model}/config.json") as f:
        config = json.load(f)
    n = Shape(w)
    config["lm"] = {"config": {
        "layers": n.layers, "dim": n.dim, "heads": n.heads,
        "ffn": w["layers.0.down.weight"].shape[1], "cond": w["cond.down.weight"].shape[1],
        "specials": n.video, "video_bits": 2 * (n.half.bit_length() - 1), "audio_levels": n.levels,
        "audio_codes": n.codes, "text_pieces": w["text.weight"].shape[0], "max_len": 8192,
        "rope_base": 10000}, "file": "lm.safetensors", "sha256": sha}
    with open(f"{model}/config.json", "w") as f:
        json.dump(config, f, indent="\t")


# ---- The run --------------------------------------------------------------------------------------

# Of sequences, a pair one of them. By positions: pairs 0.26, pictures 0.15, video 0.20 and with sound
# 0.17; words decide the first picture.
SHARES = {"pairs": 0.34, "image": 0.39, "video": 0.125, "video_sound": 0.08, "animate": 0.036,
          "predict": 0.03, "paint": 0.011, "stylize": 0.011, "to_sound": 0.014, "from_sound": 0.005,
          "continue": 0.005}


def warm_up(how, w, shape, device, batch, args):
    """A step there and back, without an update: (network, loss, gradient)."""
    net = Network(w, shape, device, how, args.rows, args.length)
    with torch.autocast(device, torch.bfloat16, enabled=args.amp):
        loss, _ = net.losses(to_device(batch, device))
    loss.backward()
    grad = torch.cat([p.grad.flatten() for p in w.values()])
    for p in w.values():
        p.grad.zero_()
    return net, loss.item(), grad


def start(args, began, log):
    """(network, its weights, feed, validation, device); compiled when that works and gives what the
    plain network gives, else plain."""
    store = data.read_pack(args.pack)
    mixture = data.Mixture(store, SHARES, args.playground)
    val = validation(store, most=args.most)
    w = read_weights(args.init, "cpu") if args.init else fresh_weights(args.pieces, args.seed)
    shape = Shape(w)
    feed = data.Feed(mixture, args, groups_of(shape))  # forked before the device is touched
    device = "cuda" if torch.cuda.is_available() else "cpu"
    w = {k: v.detach().to(device).requires_grad_() for k, v in w.items()}
    first = feed.next()
    log({"clips": len(store), "device": device, "seconds": round(time.time() - began, 2)})
    plain, expected, true = warm_up("plain", w, shape, device, first, args)
    for how in filter(None, args.how.split(",")):
        try:
            net, loss, grad = warm_up(how, w, shape, device, first, args)
            gap = ((grad - true).norm() / true.norm()).item()
            log({"how": how, "loss": loss, "plain_loss": expected, "gradient_gap": gap,
                 "seconds": round(time.time() - began, 2)})
            if abs(loss - expected) < 0.02 and gap < 0.1:
                return net, w, feed, val, device
        except Exception as e:  # a compiler that fails costs speed, not the run
            log({"how": how, "failed": repr(e)[:2000], "seconds": round(time.time() - began, 2)})
            for p in w.values():
                p.grad = torch.zeros_like(p)
    return plain, w, feed, val, device


def train(args):
    began = time.time()
    os.makedirs(args.out, exist_ok=True)
    curve = open(f"{args.out}/curve.jsonl", "a")

    def log(row):
        curve.write(json.dumps(row) + "\n")
        curve.flush()
        print(json.dumps(row), flush=True)

    torch.backends.cuda.matmul.allow_tf32 = True
    net, w, feed, val, device = start(args, began, log)
    opt = Optimiser(w, vars(args))

    def look():
        opt.swap()
        save_parts(w, args.out)
        found = report(net, val, args.rows, args.length, device, args.amp)
        opt.swap()
        log({"step": step, "tokens": tokens, "seconds": round(time.time() - began, 2), **found})

    from_here, end = time.time(), began + args.seconds - args.reserve
    saved, step, tokens, waited = from_here, 0, 0, 0.0  # waited: for batches, seconds
    each = args.rows * args.length
    try:
        while True:
            now = time.time()
            share = (now - from_here) / max(end - from_here, 1e-9)
            share = step / args.steps if args.steps else share
            if share >= 1:
                break
            step += 1
            f = schedule(step, args.warmup, args.decay, share, args.steps)
            asked = time.time()
            b = feed.next()
            waited += time.time() - asked
            b = to_device(b, device)
            with torch.autocast(device, torch.bfloat16, enabled=args.amp):
                loss, groups = net.losses(b)
            loss.backward()
            norm = opt.step(f)
            tokens += each
            if step % args.log_every == 0:
                row = {"step": step, "seconds": round(time.time() - began, 2), "loss": loss.item(),
                       "norm": norm.item(), "rate": round(f, 4), "tokens": tokens,
                       "tokens_per_s": round(tokens / (time.time() - from_here)),
                       "waited": round(waited, 2)}
                where, lo = groups["video_lo"]
                row["video"] = ((lo + groups["video_hi"][1])[where].mean()).item()
                apart = groups["apart"][groups["apart"] < 1e4]
                row["words_apart"] = apart.mean().item()
                log(row)
            if step % args.sync_every == 0 and device == "cuda":
                torch.cuda.synchronize()
            if time.time() - saved > args.save_every:
                saved = time.time()
                look()
    finally:  # whatever ends it, what was learnt stays
        look()


def score(args):
    store = data.read_pack(args.pack)
    w = read_weights(args.weights, "cpu")
    net = Network(w, Shape(w), "cpu")
    val = validation(store, most=args.most)
    for k, v in report(net, val, 1, 2688, "cpu", args.amp).items():
        print(k, v, flush=True)


GOLDEN = {"steps": 20, "warmup": 4, "decay": 0.5, "lr": 0.004, "muon_lr": 0.02, "weight_decay": 0.1,
          "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "clip": 1.0, "ema": 0.9}


def golden(path):
    """A tiny network of twin_lm.py through 20 steps on its two sequences: losses, norms and the
    averaged weights at the end."""
    import twin_lm
    w = twin_lm.parameters()
    shape, r = Shape(w, twin_lm.BASE), GOLDEN
    sequences = [(np.array(i), pos.numpy(), np.array(t), n) for i, pos, t, n in twin_lm.sequences()]
    length = max(len(s[0]) for s in sequences)
    b = to_device(data.pack_rows([[s] for s in sequences], length, groups_of(shape)), "cpu")
    out = {"w." + k: v.detach().bfloat16().clone() for k, v in w.items()}
    net, opt, losses, norms = Network(w, shape, "cpu"), Optimiser(w, r), [], []
    for step in range(1, r["steps"] + 1):
        loss, _ = net.losses(b)
        loss.backward()
        norms.append(opt.step(schedule(step, r["warmup"], r["decay"], 0, r["steps"])).item())
        losses.append(loss.item())
    out.update({"e." + k: v for k, v in opt.ema.items()})
    out.update(loss=torch.tensor(losses), norm=torch.tensor(norms))
    i32 = lambda x: torch.tensor(np.array(x), dtype=torch.int32)
    out.update(config=i32([twin_lm.LAYERS, twin_lm.DIM, twin_lm.HEADS, twin_lm.FFN, twin_lm.COND,
                           twin_lm.SPECIALS, twin_lm.BITS, twin_lm.LEVELS, twin_lm.CODES,
                           twin_lm.PIECES, int(twin_lm.BASE)]),
               ids=b["ids"], pos=b["pos"], target=b["target"].int(),
               prefix=i32([s[3] for s in sequences]), length=i32([len(s[0]) for s in sequences]))
    save_file({k: v.contiguous() for k, v in out.items()}, path)
    print(" ".join(f"{x:.4f}" for x in losses))


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    verbs = p.add_subparsers(dest="verb", required=True)
    v = verbs.add_parser("score")
    v.add_argument("pack")
    v.add_argument("weights")
    v.add_argument("--most", type=int, default=32)
    v.add_argument("--amp", action="store_true")
    v = verbs.add_parser("join")
    v.add_argument("out")
    v.add_argument("model")
    v = verbs.add_parser("golden")
    v.add_argument("path")
    v = verbs.add_parser("train")
    v.add_argument("pack")
    v.add_argument("out")
    v.add_argument("--init", help="weights; else the default preset at random")
    v.add_argument("--shards", help="folder in which further dumps (NAME.st) appear meanwhile")
    v.add_argument("--pieces", type=int, default=2048, help="of the text tokenizer, without --init")
    for name, value in (("seconds", 300.0), ("reserve", 8.0), ("lr", 0.002), ("muon-lr", 0.01),
                        ("weight-decay", 0.05), ("beta1", 0.9), ("beta2", 0.95), ("eps", 1e-8),
                        ("clip", 1.0), ("ema", 0.997), ("decay", 0.6), ("playground", 0.8),
                        ("save-every", 60.0)):
        v.add_argument("--" + name, type=float, default=value)
    for name, value in (("rows", 16), ("length", 2688), ("warmup", 100), ("steps", 0),
                        ("workers", 8), ("seed", 1), ("log-every", 20), ("sync-every", 4),
                        ("most", 32)):
        v.add_argument("--" + name, type=int, default=value)
    v.add_argument("--how", default="flex,dense", help="what to try before plain, in this order")
    v.add_argument("--no-amp", dest="amp", action="store_false")
    return p.parse_args()


def main():
    args = arguments()
    if args.verb == "train":
        train(args)
    elif args.verb == "score":
        score(args)
    elif args.verb == "golden":
        golden(args.path)
    else:
        join(args.out, args.model)


if __name__ == "__main__":
    main()
