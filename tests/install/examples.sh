#!/usr/bin/env bash
# The shell pipeline with ffmpeg, and the Python script against a server (when `openai` is there).
# examples.sh PROGRAM
set -u
export REELM=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
export REELM_MODEL=${REELM_TEST_MODEL:-$root/assets/models/default} XDG_CONFIG_HOME=/nonexistent
work=$(mktemp -d)
server=
trap '[ -n "$server" ] && kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
passed=0
failed=0
ok() { if [ "$2" -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)) && echo "FAIL $1"; fi; }
command -v ffmpeg >/dev/null || { echo "skipped: no ffmpeg"; exit 77; }
ffmpeg -v error -f lavfi -i testsrc2=size=320x240:rate=25:duration=1 "$work/in.mp4"
bash "$root/examples/pipeline.sh" "$work/in.mp4" "$work/pair.mp4"
ok "pipeline.sh" $?
size=$(ffprobe -v error -show_entries stream=width,height -of csv=p=0 "$work/pair.mp4")
[ "$size" = 256,128 ]
ok "side by side" $?
python=${PYTHON:-python3}
if "$python" -c 'import openai' 2>/dev/null; then
  "$REELM" serve --port 0 -q >"$work/url" 2>"$work/log" &
  server=$!
  for _ in $(seq 300); do [ -s "$work/url" ] && break; sleep 0.1; done
  "$python" "$root/examples/client.py" "a red ball" "$work/out.mp4" "$(head -1 "$work/url")" >"$work/said" 2>&1
  ok "client.py: $(tail -1 "$work/said")" $?
  ffprobe -v error "$work/out.mp4"
  ok "the clip it fetched" $?
else
  echo "client.py skipped: the package openai is not installed"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
