# Tokenizers in pipes, both ways, and through named pipes.
ffmpeg -v error -f lavfi -i testsrc2=size=32x32:rate=8 -frames:v 5 -pix_fmt yuv444p -f yuv4mpegpipe - |
  $reelm encode - -o - | tee t.rtok | $reelm decode - -o - --format y4m >piped.y4m || exit 99
$reelm tokens - <t.rtok | grep -q 'stdin: video 2x4x4 codes = 5 frames 32x32' || exit 98
$reelm decode t.rtok -o file.y4m -q && cmp piped.y4m file.y4m || exit 97
mkfifo in out
cat t.rtok >in &
cat out >named.y4m &
$reelm decode in -o out --format y4m -q || exit 96
wait
test -p out && cmp named.y4m file.y4m || exit 95
$reelm decode - -o x.y4m <(head -c 100 t.rtok) 2>/dev/null && exit 94
$reelm generate --frames 2 --size 32x32 --no-audio -s 1 -q -o - --format mkv | ffmpeg -v error -i - -y x.mp4 && test -s x.mp4 || exit 93
# settings and mark come along from a pipe as from a file
$reelm generate --frames 1 --size 32x32 --no-audio -s 7 -q -p "a red ball" -o g.mp4 --save-tokens g.rtok || exit 92
$reelm decode - -o s.mp4 -q <g.rtok && cat g.rtok >in &
$reelm decode in -o f.avi -q || exit 91
wait
for file in s.mp4 f.avi; do
  $reelm metadata $file --json | grep -q '"prompt":[[:space:]]*"a red ball"' || exit 90
done
grep -qa DigitalSourceType s.mp4 || exit 89
$reelm decode g.rtok --no-metadata -o n.mp4 -q && ! grep -qa 'red ball' n.mp4 && grep -qa DigitalSourceType n.mp4 || exit 88
# the tokenizers alone are enough
command -v python3 >/dev/null || exit 0
mkdir alone && ln -s "$model"/*.safetensors alone/ && rm alone/lm.safetensors
python3 - <<'END'
import json, os
c = json.load(open(os.environ["model"] + "/config.json"))
json.dump({k: v for k, v in c.items() if k not in ("lm", "text")}, open("alone/config.json", "w"))
END
$reelm encode g.mp4 -o alone.rtok -q -m alone && $reelm decode alone.rtok -o alone.mp4 -q -m alone || exit 87
$reelm generate --frames 1 -m alone -o no.mp4 2>err && exit 86
grep -q 'lm' err || exit 85
# codes as an array
$reelm tokens t.rtok -o t.npy -q && python3 - <<'END'
import json, struct
d = open("t.npy", "rb").read()
n = struct.unpack("<Q", open("t.rtok", "rb").read(8))[0]
r = open("t.rtok", "rb").read()
at = json.loads(r[8:8 + n])["video"]["data_offsets"]
assert d[:8] == b"\x93NUMPY\x01\x00" and b"'shape': (2, 4, 4)" in d[:128] and b"<i4" in d[:128]
assert d[128:] == r[8 + n + at[0]:8 + n + at[1]]
END
