"""Sequences of the language model as prompts/layout.c and src/train/lm_mix.c make them, in NumPy.

    reelm train lm ... --dump DUMP          every clip as codes, and sequences to compare with
    python twin_lm_data.py DUMP PACK        checks that this file builds the same sequences, then
                                            writes the clips small (PACK, 1.3 to 2 bytes a code)

Written from docs/MODEL.md, section 5. twin_train_lm.py trains from PACK.
"""
import glob
import json
import lzma
import multiprocessing
import sys

import numpy as np

PAD, BOS, EOS = 0, 1, 2
BOT_I, EOT_I, BOV_I, EOV_I, BOA_I, EOA_I, BOV_O, EOV_O, BOA_O, EOA_O = range(3, 13)
RES_PORTRAIT, RES_OTHER, LONG, MASK, SOURCE, TASK = 13, 14, 15, 16, 32, 64
VIDEO, AUDIO, CODES, TEXT = 256, 262400, 1024, 266496
REAL, PLAYGROUND = 0, 1
TEXTS, PAST_SOUND = 8, 25
# Kinds in the order of RLM_LM_MIX_*; the task of each.
KINDS = ("video", "video_sound", "animate", "predict", "image", "paint", "stylize", "to_sound",
         "from_sound", "continue")
TASKS = (1, 1, 1, 3, 2, 4, 5, 6, 7, 8)
PAIRS = "pairs"  # pictures, each under its own words and under another's


class Clip:
    """views: [(video [t][h][w], sound [levels][frames] or None, control or None)]"""

    def __init__(self, source, held_out, text, views):
        self.source, self.held_out, self.text, self.views = source, held_out, text, views


# ---- Layout ---------------------------------------------------------------------------------------

class Builder:
    def __init__(self):
        self.ids, self.pos, self.target, self.next = [], [], [], 0

    def put(self, ids, pos, target):
        self.ids.append(np.asarray(ids, np.int32).ravel())
        self.pos.append(np.asarray(pos, np.int32).reshape(-1, 3))
        self.target.append(np.full(self.ids[-1].size, target, np.uint8))

    def line(self, ids, target=0):
        """Specials and text: each one further on all axes."""
        at = self.next + np.arange(len(ids))
        self.put(ids, np.stack([at, at, at], 1), target)
        self.next += len(ids)

    def visual(self, codes, t0, o, target, stray=0):
        t, h, w = codes.shape
        grid = np.indices(codes.shape).reshape(3, -1).T * [4, 1, 1]
        self.put(np.where(codes < 0, MASK, codes + VIDEO), grid + [t0 + stray, o, o], target)
        self.next = max(self.next, t0 + 4 * t, o + max(h, w))

    def sound(self, codes, t0, o, target):
        levels, frames = codes.shape
        q, f = np.indices(codes.shape).reshape(2, -1)
        self.put(codes.ravel() + AUDIO + CODES * q, np.stack([t0 + 4 * f // 25, o + f, o + q], 1),
                 target)
        self.next = max(self.next, t0 + 4 * frames // 25 + 1, o + max(frames, levels))


def build(kind, video_out=None, visual_in=None, audio_out=None, audio_in=None, text=(), source=-1):
    """-> ids [n], pos [n][3], target [n], prefix. Grids as in rlm_layout_spec."""
    b = Builder()
    task, unfinished = TASKS[kind], KINDS[kind] == "image"
    b.line([BOS, TASK + task])
    if len(text):
        b.line([BOT_I, *(TEXT + np.asarray(text)), EOT_I])
    visual = sound_t = None
    if visual_in is not None:
        b.line([BOV_I])
        visual = b.next
        b.visual(visual_in, visual, visual, 0, 2)
        b.line([EOV_I])
    if audio_in is not None:
        b.line([BOA_I])
        sound_t = b.next if visual is None else visual
        b.sound(audio_in, sound_t, b.next, 0)
        b.line([EOA_I])
    if source >= 0:
        b.line([SOURCE + source])
    if video_out is not None and video_out.shape[1:] != (16, 16):
        b.line([RES_PORTRAIT if video_out.shape[1:] == (28, 16) else RES_OTHER])
    if video_out.shape[0] > 5 if video_out is not None else audio_out.shape[1] > 106:
        b.line([LONG])
    prefix = sum(len(i) for i in b.ids)
    t, o = b.next, b.next
    if visual is not None:
        t = visual + (4 * visual_in.shape[0] if task in (3, 8) else 0)
        o = visual
    elif sound_t is not None:
        t = sound_t
    if video_out is not None:
        b.line([BOV_O])
        if visual is None:
            o = b.next
            t = b.next if sound_t is None else t
        b.visual(video_out, t, o, 1)
        if not unfinished:
            b.line([EOV_O], 1)
    if audio_out is not None:
        b.line([BOA_O])
        b.sound(audio_out, t, b.next, 1)
        b.line([EOA_O], 1)
    if not unfinished:
        b.line([EOS], 1)
    return np.concatenate(b.ids), np.concatenate(b.pos), np.concatenate(b.target), prefix


# ---- The mixture ----------------------------------------------------------------------------------

def suits(kind, view):
    video, sound, control = view
    name = KINDS[kind]
    if (kind == 1 or kind >= 7) and (sound is None or sound.shape[1] <= PAST_SOUND):
        return False
    if name == "stylize" and control is None:
        return False
    return name == "image" or video.shape[0] >= 2


def hide(video, rng):
    """What a painting is shown: all but a box, a box, or one or two frames; -1 elsewhere."""
    t, h, w = video.shape
    if rng.random() < 0.25:
        out = np.full_like(video, -1)
        for i in ([0] if rng.random() < 0.5 else []) + [rng.integers(t)]:
            out[i] = video[i]
        return out
    hole = np.zeros((h, w), bool)
    place = []
    for size in (h, w):
        span = min(max(size // 4, 1) + rng.integers(size // 2 + 1), size)
        at = rng.integers(size - span + 1)
        place.append(slice(at, at + span))
    hole[place[0], place[1]] = True
    return np.where(hole ^ (rng.random() < 0.5), -1, video).astype(np.int32)


def sequence(kind, view, text, source, rng, shown=None):
    """shown: what the prefix of a painting shows; else drawn."""
    video, sound, control = view
    name, past = KINDS[kind], 1
    if name == "predict":
        t = video.shape[0]
        past += int(rng.integers(3 if t > 3 else t - 1))
    g = {"text": text, "source": source}
    if name in ("animate", "predict", "continue"):
        g["visual_in"] = video[:past]
    if name == "to_sound":
        g["visual_in"] = video
    if name == "paint":
        g["visual_in"] = hide(video, rng) if shown is None else shown
    if name == "stylize":
        g["visual_in"] = control
    if name in ("predict", "continue"):
        g["video_out"] = video[past:]
    elif name == "image":
        g["video_out"] = video[:1]
    elif name != "to_sound":
        g["video_out"] = video
    if name in ("video_sound", "to_sound"):
        g["audio_out"] = sound
    if name == "from_sound":
        g["audio_in"] = sound
    if name == "continue":
        g["audio_in"], g["audio_out"] = sound[:, :PAST_SOUND], sound[:, PAST_SOUND:]
    return build(kind, **g)


class Mixture:
    """Draws of the training clips. shares: of sequences, by KINDS, and of PAIRS."""

    def __init__(self, store, shares, playground=0.8, text_drop=0.12, source_drop=0.5):
        self.shares = np.array([shares.get(k, 0) for k in (*KINDS, PAIRS)], float)
        self.playground, self.text_drop, self.source_drop = playground, text_drop, source_drop
        self.of = {(s, k): np.zeros((0, 3), np.int32) for s in (REAL, PLAYGROUND)
                   for k in range(len(KINDS))}
        self.stores = []
        self.add(store)
        for kind in range(len(KINDS)):
            if not (len(self.of[REAL, kind]) or len(self.of[PLAYGROUND, kind])):
                self.shares[kind] = 0
        self.shares /= self.shares.sum()

    def add(self, store):
        """The store's training clips from now on as well."""
        for (source, kind), known in self.of.items():
            clip, view = store.suiting(source, kind)
            rows = np.stack([np.full(len(clip), len(self.stores)), clip, view], 1)
            self.of[source, kind] = np.concatenate([known, rows.astype(np.int32)])
        self.stores.append(store)

    def choose(self, rng, kind, source):
        """-> (clip, one of its views that suits the kind)"""
        pool = self.of[source, kind]
        pool = pool if len(pool) else self.of[1 - source, kind]
        store, clip, view = pool[rng.integers(len(pool))]
        clip = self.stores[store].clip(clip)
        return clip, clip.views[view]

    def draw(self, rng, only=None):
        """-> [sequence]; of a pair two: a picture under its own words, then under another's."""
        kind = int(rng.choice(len(self.shares), p=self.shares)) if only is None else (
            KINDS.index(only))
        source = PLAYGROUND if rng.random() < self.playground else REAL
        told = rng.random() >= self.source_drop
        if kind == len(KINDS):
            return self.pair(rng, source, told)
        clip, view = self.choose(rng, kind, source)
        text = any_caption(clip, rng) if rng.random() >= self.text_drop else ()
        return [sequence(kind, view, text, clip.source if told else -1, rng)]

    def pair(self, rng, source, told):
        image = KINDS.index("image")
        (clip, view), (other, _) = (self.choose(rng, image, source) for _ in range(2))
        told = clip.source if told else -1
        return [sequence(image, view, any_caption(c, rng), told, rng) for c in (clip, other)]


def any_caption(clip, rng):
    which = 4 * rng.integers(2) + 2 * (rng.random() < 0.25) + rng.integers(2)
    if not len(clip.text[which]):
        which &= 1
    return clip.text[which] if len(clip.text[which]) else clip.text[1 - which]


# ---- Batches ----------------------------------------------------------------------------------

def pack_rows(rows, length, groups):
    """rows: lists of sequences (ids, pos, target, prefix[, number]), each list at most `length`
    long. number: 2 i of pair i's picture under its own words, 2 i + 1 under the other's."""
    n = len(rows)
    b = {"ids": np.zeros((n, length), np.int32), "pos": np.zeros((n, length, 3), np.int32),
         "target": np.zeros((n, length), bool), "in_prefix": np.zeros((n, length), bool),
         "doc": np.full((n, length), -1, np.int32), "pair": np.full((n, length), -1, np.int64)}
    for r, row in enumerate(rows):
        at = 0
        for i, (ids, pos, target, prefix, *pair) in enumerate(row):
            part = slice(at, at + len(ids))
            b["ids"][r, part], b["pos"][r, part] = ids, pos
            b["target"][r, part], b["doc"][r, part] = target, i
            b["target"][r, at] = False  # nothing stands before it
            b["pair"][r, part] = pair[0] if pair else -1
            b["in_prefix"][r, at : at + prefix] = True
            at += len(ids)
    ids, hit = b["ids"].ravel(), b["target"].ravel()
    for name, first, count in groups:
        room = n * length // (12 if name != "special" else 64) + 8
        at = np.flatnonzero(hit & (ids >= first) & (ids < first + count))[:room] - 1
        b["group." + name] = np.full(room, -1, np.int64)
        b["group." + name][: len(at)] = at
    return b


def fill_rows(mixture, rng, count, length):
    """Sequences into `count` rows; holes at the ends are filled with pictures. A pair that does not
    fit whole leaves what it has as a picture."""
    rows, room, misses, pairs = [[] for _ in range(count)], [length] * count, 0, 0
    while misses < 4:
        drawn = mixture.draw(rng, only="image" if misses > 1 else None)
        places = []
        for s in drawn:
            r = next((i for i in range(count) if room[i] >= len(s[0])), None)
            if r is None:
                misses += 1
                break
            places.append(r)
            room[r] -= len(s[0])
        for i, (s, r) in enumerate(zip(drawn, places)):
            rows[r].append((*s, 2 * pairs + i) if len(places) == 2 else s)
        pairs += len(places) == 2
    return rows


def take_shards(mixture, folder, known):
    """Dumps that appeared in the folder since (renamed into place when whole)."""
    for path in sorted(glob.glob(f"{folder}/*.st")) if folder else []:
        if path not in known:
            known.add(path)
            mixture.add(Store(read_dump(path)))


def work(queue, mixture, first, args, groups):
    n, known = first, set()
    while True:
        if n // args.workers % 8 == 0:
            take_shards(mixture, args.shards, known)
        rng = np.random.default_rng([args.seed, n])
        queue.put(pack_rows(fill_rows(mixture, rng, args.rows, args.length), args.length, groups))
        n += args.workers


class Feed:
    """Batch i is a function of (seed, i), and of the shards that were there; worker i % workers
    makes it."""

    def __init__(self, mixture, args, groups):
        fork = multiprocessing.get_context("fork")
        self.queues = [fork.Queue(4) for _ in range(args.workers)]
        self.at = 0
        for i, q in enumerate(self.queues):
            fork.Process(target=work, daemon=True, args=(q, mixture, i, args, groups)).start()

    def next(self):
        b = self.queues[self.at % len(self.queues)].get(timeout=60)
        self.at += 1
        return b


# ---- Files ----------------------------------------------------------------------------------------

class Store:
    """Clips as the arrays of a dump; a Clip is made when it is asked for."""

    def __init__(self, d):
        before = lambda n: np.cumsum(n, dtype=np.int64) - n
        self.d = d
        self.text_at = before(d["text_count"].ravel()).reshape(-1, TEXTS)
        self.view_at = before(d["clips"][:, 2])
        t, h, w, levels, frames, has = d["views"].T.astype(np.int64)
        self.code_at = before(t * h * w * (1 + has) + levels * frames)

    def __len__(self):
        return len(self.d["clips"])

    def suiting(self, source, kind):
        """(clips, their views) to train this kind on."""
        d, name = self.d, KINDS[kind]
        clip = np.repeat(np.arange(len(self)), d["clips"][:, 2])
        view = np.arange(len(clip)) - self.view_at[clip]
        t, _, _, _, frames, has = d["views"].T
        good = (d["clips"][clip, 0] == source) & (d["clips"][clip, 1] == 0)
        if kind == 1 or kind >= 7:
            good &= frames > PAST_SOUND
        if name == "stylize":
            good &= has > 0
        if name != "image":
            good &= t >= 2
        return clip[good], view[good]

    def clip(self, i):
        d = self.d
        source, held_out, count = d["clips"][i]
        text = [d["text"][a : a + n] for a, n in zip(self.text_at[i], d["text_count"][i])]
        views = []
        for v in range(self.view_at[i], self.view_at[i] + count):
            t, h, w, levels, frames, has = d["views"][v]
            at = self.code_at[v]

            def take(*shape):
                nonlocal at
                n = int(np.prod(shape))
                at += n
                return d["codes"][at - n : at].reshape(shape)
            views.append((take(t, h, w), take(levels, frames) if frames else None,
                          take(t, h, w) if has else None))
        return Clip(source, held_out, text, views)


def read_dump(path):
    """Tensors of a safetensors file, read here: the other machine may lack the package."""
    with open(path, "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        start = f.tell()
    return {k: np.memmap(path, "<i4", "r", start + v["data_offsets"][0], tuple(v["shape"]))
            for k, v in header.items() if k != "__metadata__"}


def sequences_of(d):
    """-> [(kind, clip, prefix, ids, pos, target)]"""
    out, at = [], 0
    for kind, clip, prefix, count in d["sequences"]:
        part = slice(at, at + count)
        out.append((int(kind), int(clip), int(prefix), d["ids"][part], d["pos"][part],
                    d["target"][part]))
        at += count
    return out


class Fixed:
    """Stands for the random draws of one known sequence: its past."""

    def __init__(self, value):
        self.value = value

    def integers(self, n):
        return self.value


def rebuilt(clip, kind, prefix, ids):
    """The sequence once more, from its clip."""
    view = clip.views[0]
    text = clip.text[0] if len(clip.text[0]) else clip.text[1]
    told = clip.source if np.any(ids[:prefix] == SOURCE + clip.source) else -1
    area = view[0][0].size
    start = np.flatnonzero(ids == BOV_I)
    shown = None
    if KINDS[kind] == "paint":
        shown = ids[start[0] + 1 : start[0] + 1 + view[0].size].reshape(view[0].shape)
        shown = np.where(shown == MASK, -1, shown - VIDEO)
    past = 0
    if KINDS[kind] == "predict":
        past = (np.flatnonzero(ids == EOV_I)[0] - start[0] - 1) // area - 1
    return sequence(kind, view, text, told, Fixed(past), shown)


def check(store, d):
    seen = set()
    for kind, clip, prefix, *want in sequences_of(d):
        got = rebuilt(store.clip(clip), kind, prefix, want[0])
        name = f"{KINDS[kind]} of clip {clip}"
        assert got[3] == prefix, f"{name}: prefix {got[3]}, expected {prefix}"
        for what, a, b in zip(("ids", "positions", "targets"), got, want):
            assert np.array_equal(a, b), f"{name}: {what} differ"
        seen.add(kind)
    return sorted(KINDS[k] for k in seen)


def squeeze(codes):
    """int32 of 18 bits -> bytes: low bytes and high bits of each half, compressed."""
    halves = [codes & 511, codes >> 9]
    planes = [(h & 255).astype(np.uint8) for h in halves] + [np.packbits(h >> 8) for h in halves]
    return [np.frombuffer(lzma.compress(p.tobytes(), preset=0), np.uint8) for p in planes]


def expand(planes, count):
    raw = [np.frombuffer(lzma.decompress(p.tobytes()), np.uint8) for p in planes]
    lo, hi = (raw[i].astype(np.int32) | np.unpackbits(raw[2 + i], count=count).astype(np.int32) << 8
              for i in range(2))
    return lo | hi << 9


def write_pack(d, path):
    parts = {k: d[k] for k in ("clips", "text_count", "views")}
    parts["text"] = d["text"].astype(np.uint16) if d["text"].max() < 65536 else d["text"]
    parts["code_count"] = np.array(len(d["codes"]))
    for i, p in enumerate(squeeze(d["codes"])):
        parts[f"plane{i}"] = p
    np.savez_compressed(path, **parts)


def read_pack(path):
    with np.load(path) as f:
        d = {k: f[k] for k in f.files}
    d["codes"] = expand([d[f"plane{i}"] for i in range(4)], int(d["code_count"]))
    d["text"] = d["text"].astype(np.int32)
    return Store(d)


def main():
    d = read_dump(sys.argv[1])
    kinds = check(Store(d), d)
    write_pack(d, sys.argv[2])
    back = read_pack(sys.argv[2]).d
    assert all(np.array_equal(d[k], back[k]) for k in ("clips", "text_count", "views", "text",
                                                       "codes"))
    print(f"{len(d['sequences'])} sequences agree ({', '.join(kinds)}); {len(d['clips'])} clips, "
          f"{len(d['views'])} views")


if __name__ == "__main__":
    main()
