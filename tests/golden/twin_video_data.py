"""What the twin of the video tokenizer learns from, on the device: clips and photos of a tar
(twin_pack_video.py) in windows as src/train/video_clips.c draws them, cameras that move over photos,
and the playground, rendered by processes beside the training (world_frames.c)."""
import io
import json
import random
import shutil
import subprocess
import tarfile
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F

FRAMES, SIDE = 17, 128
CLIP_BYTES = FRAMES * SIDE * SIDE * 3


def draw(flat, off, height, width, at, left, top, step, mirror, twice: bool):
    """Square windows of stored pictures (src/train/video_clips.c, draw_window).

    flat: bytes of all pictures; off, height, width, mirror [b]; at, left, top, step [b][f]: frame,
    corner and pixels a sample. twice: the mean of 2 x 2 samples a pixel. -> [b][f][128][128][3]"""
    times = 2 if twice else 1
    total = 0
    i = torch.arange(SIDE, device=flat.device)
    ix = torch.where(mirror[:, None], SIDE - 1 - i, i)[:, None]                     # [b][1][128]
    H, W = height[:, None, None], width[:, None, None]
    base = off[:, None] + at * (height * width)[:, None] * 3                        # [b][f]
    for sy in range(times):
        for sx in range(times):
            y = top[..., None] + (i + (sy + 0.5) / times) * step[..., None] - 0.5   # [b][f][128]
            x = left[..., None] + (ix + (sx + 0.5) / times) * step[..., None] - 0.5
            y, x = torch.minimum(y.clamp(min=0), H - 1.0), torch.minimum(x.clamp(min=0), W - 1.0)
            y0, x0 = y.floor().long(), x.floor().long()
            fy, fx = (y - y0)[..., :, None, None], (x - x0)[..., None, :, None]
            y1, x1 = torch.minimum(y0 + 1, H - 1), torch.minimum(x0 + 1, W - 1)
            rgb = torch.arange(3, device=flat.device)

            def tap(yy, xx):
                index = base[..., None, None] + (yy[..., :, None] * W[..., None] + xx[..., None, :]) * 3
                return flat[index[..., None] + rgb].float()

            upper = torch.lerp(tap(y0, x0), tap(y0, x1), fx)
            lower = torch.lerp(tap(y1, x0), tap(y1, x1), fx)
            total = total + torch.lerp(upper, lower, fy)
    return total * (2 / 255 / times ** 2) - 1


class Pictures:
    """Clips or photos as one row of bytes on the device."""

    def __init__(self, items, device):
        """items: (bytes, frames, height, width, group)"""
        sizes = [len(i[0]) for i in items]
        self.flat = torch.empty(sum(sizes), dtype=torch.uint8, device=device)
        at, offs = 0, []
        for item in items:
            n = len(item[0])
            self.flat[at:at + n] = torch.frombuffer(bytearray(item[0]), dtype=torch.uint8).to(device)
            offs.append(at)
            at += n
        as_tensor = lambda v: torch.tensor(v, device=device)
        self.off, self.frames = as_tensor(offs), as_tensor([i[1] for i in items])
        self.height, self.width = as_tensor([i[2] for i in items]), as_tensor([i[3] for i in items])
        count = {}
        for i in items:
            count[i[4]] = count.get(i[4], 0) + 1
        self.share = as_tensor([count[i[4]] ** -0.5 for i in items])

    def pick(self, n):
        return torch.multinomial(self.share, n, replacement=True)


def read_film(body, width, height, ffmpeg):
    """Bytes of a file -> bytes [n][height][width][3] at 16 frames a second; by OpenCV where there is
    no ffmpeg."""
    if shutil.which(ffmpeg):
        made = subprocess.run(
            [ffmpeg, "-v", "error", "-threads", "1", "-i", "pipe:0", "-vf", "fps=16", "-pix_fmt",
             "rgb24", "-f", "rawvideo", "pipe:1"],
            input=body, stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout
        return made[:len(made) - len(made) % (width * height * 3)]
    import cv2
    out, k = [], 0
    with tempfile.NamedTemporaryFile(suffix=".mp4") as f:
        f.write(body)
        f.flush()
        film = cv2.VideoCapture(f.name)
        while film.grab():
            at = film.get(cv2.CAP_PROP_POS_MSEC) * 0.016
            if at < k - 0.5:
                continue
            good, bgr = film.retrieve()
            if not good or bgr.shape != (height, width, 3):
                continue
            while k - 0.5 <= at:
                out.append(bgr[..., ::-1].tobytes())
                k += 1
    return b"".join(out)


def uniform(n, low, high, device):
    return torch.rand(n, device=device) * (high - low) + low


class Source:
    """Batches: playground, real clips, cameras moving over photos with cut-outs, single pictures."""

    def __init__(self, data, device, world, workers, ffmpeg):
        self.device, self.ffmpeg = device, ffmpeg
        self.clips = self.photos = None
        self.val = {}
        if data:
            self._open(data)
        self.world = WorldPool(world, "picture", 12000, workers, device)
        self.control = WorldPool(world, "control", 3000, max(1, workers // 6), device)

    def _open(self, paths):
        files, index = {}, []
        for path in paths:
            with tarfile.open(path) as tar:
                files.update({m.name: tar.extractfile(m).read() for m in tar.getmembers()})
            index += json.loads(files["index.json"])

        def decode(e):
            if e["kind"] == "photo":
                from PIL import Image
                rgb = Image.open(io.BytesIO(files[e["file"]])).convert("RGB")
                return rgb.tobytes(), 1, rgb.height, rgb.width, e["group"], e["split"]
            frames = read_film(files[e["file"]], e["width"], e["height"], self.ffmpeg)
            n = len(frames) // (e["width"] * e["height"] * 3)
            return frames, n, e["height"], e["width"], e["group"], e["split"]

        with ThreadPoolExecutor(16) as pool:
            made = list(pool.map(decode, index))
        made = [(m, e) for m, e in zip(made, index) if m[1] > 0]
        print(f"data: {len(made)} of {len(index)} files decoded", flush=True)
        of = lambda kind, split: [m[:5] for m, e in made if e["kind"] == kind and m[5] == split]
        self.clips = Pictures(of("video", 0), self.device)
        self.photos = Pictures(of("photo", 0), self.device)
        self.val["real"] = [self._middle(m, FRAMES) for m in of("video", 1)]
        self.val["photo"] = [self._middle(m, 1) for m in of("photo", 1)]

    def _middle(self, m, frames):
        """The middle square at 8 frames a second, bytes [f][128][128][3]."""
        x = torch.frombuffer(bytearray(m[0]), dtype=torch.uint8).reshape(m[1], m[2], m[3], 3)
        at = [min(2 * i, m[1] - 1) for i in range(frames)]
        x = x[at].permute(0, 3, 1, 2).float()
        scale = SIDE / min(m[2], m[3])
        x = F.interpolate(x, (round(m[2] * scale), round(m[3] * scale)), mode="bicubic", antialias=True)
        top, left = (x.shape[2] - SIDE) // 2, (x.shape[3] - SIDE) // 2
        x = x[:, :, top:top + SIDE, left:left + SIDE].permute(0, 2, 3, 1)
        return x.round().clamp(0, 255).byte().to(self.device)

    # -- windows
    def _window(self, s, item, least, most):
        H, W = s.height[item].float(), s.width[item].float()
        side = torch.minimum(H, W) * uniform(len(item), least, most, self.device)
        x = uniform(len(item), 0, 1, self.device) * (W - side) + side / 2
        y = uniform(len(item), 0, 1, self.device) * (H - side) + side / 2
        return x, y, side

    def _run(self, s, item, at, x, y, side, twice):
        """x, y, side [b][f]: centre and side of the window, pixels."""
        mirror = torch.rand(len(item), device=self.device) < 0.5
        return draw(s.flat, s.off[item], s.height[item], s.width[item], at, x - side / 2,
                         y - side / 2, side / SIDE, mirror, twice)

    def real(self, n):
        s, item = self.clips, self.clips.pick(n)
        x, y, side = self._window(s, item, 0.85, 1.0)
        H, W = s.height[item], s.width[item]
        copied = torch.rand(n, device=self.device) < 0.7
        copied &= torch.minimum(H, W) >= SIDE
        cx = SIDE / 2 + (uniform(n, 0, 1, self.device) * (W - SIDE + 0.999)).floor()
        cy = SIDE / 2 + (uniform(n, 0, 1, self.device) * (H - SIDE + 0.999)).floor()
        x, y = torch.where(copied, cx, x), torch.where(copied, cy, y)
        side = torch.where(copied, float(SIDE), side)
        stride = torch.where(torch.rand(n, device=self.device) < 0.85, 2, 3)
        spare = (s.frames[item] - 1 - stride * (FRAMES - 1)).clamp(min=0)
        start = (uniform(n, 0, 1, self.device) * (spare + 0.999)).long()
        f = torch.arange(FRAMES, device=self.device)
        at = torch.minimum(start[:, None] + stride[:, None] * f, s.frames[item][:, None] - 1)
        wide = lambda v: v[:, None].expand(-1, FRAMES)
        return self._run(s, item, at, wide(x), wide(y), wide(side), False)

    def motion(self, n):
        s, item = self.photos, self.photos.pick(n)
        x, y, side = self._window(s, item, 0.4, 1.0)
        H, W = s.height[item].float(), s.width[item].float()
        still = (torch.rand(n, device=self.device) < 0.1).float()
        u = lambda a, b: uniform(n, a, b, self.device)
        side1 = torch.minimum(side * u(0.8, 1.25), torch.minimum(H, W))
        x1, y1 = x + u(-0.25, 0.25) * side, y + u(-0.18, 0.18) * side
        x1 = torch.minimum(torch.maximum(x1, side1 / 2), W - side1 / 2)
        y1 = torch.minimum(torch.maximum(y1, side1 / 2), H - side1 / 2)
        t = torch.arange(FRAMES, device=self.device) / (FRAMES - 1)
        go = lambda a, b: a[:, None] + t * ((b - a) * (1 - still))[:, None]
        at = torch.zeros(n, FRAMES, dtype=torch.long, device=self.device)
        out = self._run(s, item, at, go(x, x1), go(y, y1), go(side, side1), True)
        return self.cut_out(out, self.pictures(n)[:, 0])

    def cut_out(self, clips, over):
        """In half of the clips an ellipse of another picture moves in front."""
        n = clips.shape[0]
        u = lambda a, b: uniform(n, a, b, self.device)[:, None, None, None]
        rx, ry = SIDE * u(0.1, 0.3), SIDE * u(0.1, 0.3)
        x, y, vx, vy = u(0, SIDE), u(0, SIDE), u(-4, 4), u(-3, 3)
        t = torch.arange(FRAMES, device=self.device).view(1, -1, 1, 1)
        i = torch.arange(SIDE, device=self.device)
        dx, dy = i.view(1, 1, 1, -1) - x - vx * t, i.view(1, 1, -1, 1) - y - vy * t
        cover = ((1 - (dx / rx) ** 2 - (dy / ry) ** 2) * 0.25 * (rx + ry)).clamp(0, 1)
        cover = cover * (u(0, 1) < 0.5)
        px, py = (dx + SIDE).long() % SIDE, (dy + SIDE).long() % SIDE      # its picture comes along
        b = torch.arange(n, device=self.device).view(-1, 1, 1, 1)
        return clips + cover[..., None] * (over[b, py, px] - clips)

    def pictures(self, n):
        """Single pictures from photos, [n][1][128][128][3]."""
        s, item = self.photos, self.photos.pick(n)
        x, y, side = self._window(s, item, 0.4, 1.0)
        at = torch.zeros(n, 1, dtype=torch.long, device=self.device)
        return self._run(s, item, at, x[:, None], y[:, None], side[:, None], True)

    def batch(self, n):
        """-> clips [n][17][128][128][3] in [-1, 1], of which how many are of the playground, pictures
        [n / 4][1][128][128][3], likewise."""
        if not self.clips:
            return (torch.cat([self.world.sample(n - n // 8), self.control.sample(n // 8)]), n,
                    self.world.sample(n // 4)[:, 8:9], n // 4)
        made, control, film = round(0.44 * n), round(0.05 * n), round(0.31 * n)
        parts = [self.world.sample(made), self.control.sample(control), self.real(film),
                 self.motion(n - made - control - film)]
        few = max(1, n // 16)
        pictures = torch.cat([self.world.sample(few)[:, 8:9], self.pictures(n // 4 - few)])
        return torch.cat(parts), made + control, pictures, few


class WorldPool:
    """Clips of the playground, rendered by processes and replaced for as long as the run lasts."""

    def __init__(self, program, kind, room, workers, device):
        self.clips = torch.empty((room, CLIP_BYTES), dtype=torch.uint8, device=device)
        self.count, self.room, self.made, self.lock = 0, room, 0, threading.Lock()
        self.device, self.program, self.kind = device, program, kind
        first = random.randrange(10 ** 6)
        self.workers = [subprocess.Popen([program, str(first + i), str(workers), str(10 ** 9), "0", kind],
                                         stdout=subprocess.PIPE, bufsize=0) for i in range(workers)]
        for w in self.workers:
            threading.Thread(target=self._fill, args=(w,), daemon=True).start()

    def _fill(self, worker):
        cuda = self.clips.is_cuda
        hold = torch.empty(CLIP_BYTES, dtype=torch.uint8, pin_memory=cuda)
        view = memoryview(hold.numpy())
        stream = torch.cuda.Stream() if cuda else None
        while True:
            got = 0
            while got < CLIP_BYTES:
                n = worker.stdout.readinto(view[got:])
                if not n:
                    return
                got += n
            with self.lock:
                at = self.made % self.room
                self.made += 1
            if cuda:
                with torch.cuda.stream(stream):
                    self.clips[at].copy_(hold, non_blocking=True)
                stream.synchronize()
            else:
                self.clips[at] = hold
            with self.lock:
                self.count = max(self.count, min(self.made - len(self.workers), self.room))

    def sample(self, n):
        while self.count < 64:
            time.sleep(0.05)
        at = torch.randint(self.count, (n,), device=self.device)
        x = self.clips[at].float().mul_(2 / 255).sub_(1).view(n, FRAMES, SIDE, SIDE, 3)
        return x

    def validation(self, n):
        done = subprocess.run([self.program, "0", "1", str(n), "1", self.kind], stdout=subprocess.PIPE)
        x = torch.frombuffer(bytearray(done.stdout), dtype=torch.uint8)
        return list(x.view(n, FRAMES, SIDE, SIDE, 3).to(self.device))

    def close(self):
        for w in self.workers:
            w.kill()
