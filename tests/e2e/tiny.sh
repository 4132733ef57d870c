#!/usr/bin/env bash
# From nothing to a clip: tiny networks trained on moving pictures and tones through the program itself,
# joined, and asked for a video that ffprobe can read. tiny.sh PATH_TO_REELM
set -u
reelm=$(realpath "$1")
root=$(cd "$(dirname "$0")/../.." && pwd)
passed=0
failed=0
ok() { # ok WHAT COMMAND...
  local what=$1
  shift
  if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAIL $what"; fi
}
finish() {
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
  exit $?
}
if ! command -v ffmpeg >/dev/null || ! command -v ffprobe >/dev/null; then
  echo "skipped: ffmpeg is not installed"
  exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

# Ten clips: a bright box that moves, a tone whose pitch goes with the colour.
mkdir data
colours=(red green blue yellow white cyan magenta orange purple pink)
for i in 0 1 2 3 4 5 6 7 8 9; do
  ffmpeg -v error -f lavfi -i "color=black:s=64x64:r=8:d=2.2" \
    -f lavfi -i "color=${colours[$i]}:s=16x16:r=8:d=2.2" \
    -f lavfi -i "sine=f=$((200 + 100 * i)):r=16000:d=2.2" \
    -filter_complex "[0][1]overlay=x='4+t*$((8 + i))':y=$((4 * i))" \
    -pix_fmt yuv420p "data/$i.mp4" </dev/null || exit 1
  echo "a ${colours[$i]} box moves to the right" >"data/$i.txt"
done

# value KEY RUN first|last: of the metrics
value() {
  python3 - "$@" <<'P'
import json, sys
key, run, which = sys.argv[1:4]
rows = [json.loads(l) for l in open(run + '/metrics.jsonl')]
rows = [r[key] for r in rows if key in r]
print(rows[0] if which == 'first' else min(rows[-5:]))
P
}
falls() { # falls KEY RUN FACTOR
  python3 -c "import sys; sys.exit(not float('$(value "$1" "$2" last)') < $3 * float('$(value "$1" "$2" first)'))"
}
train() { # train WHAT STEPS OPTIONS...
  local what=$1 steps=$2
  shift 2
  "$reelm" train "$what" --config "$root/assets/configs/$what-tiny.json" --data data --out "$what" \
    --steps "$steps" --seed 1 -q "$@"
}

ok "video trains" train video 60
ok "video loss falls" falls loss video 0.8
ok "audio trains" train audio 40
ok "audio loss falls" falls loss audio 0.95
ok "parts join" "$reelm" assemble video/model audio/model \
  "$root/assets/models/default/text.model" -o model -q
ok "lm trains" train lm 40 -m model
ok "lm loss falls" falls loss lm 0.8
ok "lm resumes" train lm 50 -m model --resume
ok "lm went on to step 50" test "$(value step lm last)" -ge 50 -o "$(tail -1 lm/metrics.jsonl |
  grep -c '"step":50')" -eq 1
ok "parts join again" "$reelm" assemble lm/model -o model -q
ok "generates" "$reelm" generate -m model -p "a red box moves to the right" -s 1 -q -o out.mp4
probe=$(ffprobe -v error -count_frames -show_entries \
  stream=codec_name,width,height,nb_read_frames,r_frame_rate,duration -of csv=p=0 out.mp4)
echo "$probe"
ok "H.264 128x128, 8 fps, 17 frames" grep -q '^h264,128,128,8/1,.*17$' <<<"$probe"
ok "sound of the same length" python3 - <<P
import sys
rows = [r.split(',') for r in """$probe""".split()]
length = {r[0]: [float(x) for x in r[1:] if '.' in x] for r in rows}
sys.exit(not (abs(length['aac'][0] - 2.125) <= 0.125))
P
ok "encodes and decodes" sh -c "'$reelm' encode -m model data/0.mp4 -o a.rtok -q &&
  '$reelm' decode -m model a.rtok -o b.mp4 -q"
finish
