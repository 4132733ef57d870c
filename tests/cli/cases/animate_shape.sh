# stdout: 128x128 128x128 128x128 128x224 96x168 128x128 128x128 128x128
# What is made from a picture or a video is square or tall, as training had it; the rest is said.
for s in 64x64 640x360 90x120 90x160; do ffmpeg -v error -f lavfi -i testsrc2=size=$s:rate=8 -frames:v 1 $s.png; done
ffmpeg -v error -f lavfi -i testsrc2=size=160x120:rate=8 -frames:v 2 film.mp4
size() {
  local out=$1
  shift
  $reelm "$@" --dry-run --no-audio | grep -oE '[0-9]+x[0-9]+' | head -1 | xargs printf "%s$out"
}
one="--frames 1 -s 1 -o x.mp4"
size ' ' animate 64x64.png $one
size ' ' generate -i 640x360.png $one
size ' ' animate 90x120.png $one
size ' ' animate 90x160.png $one
size ' ' animate 90x120.png -W 96 -H 168 $one
size ' ' generate $one
size ' ' animate - $one <film.mp4
size '' stylize film.mp4 --seconds 0.2 -o x.mp4
$reelm animate 640x360.png $one --dry-run 2>&1 | grep -q 'cropped to 128x128.*--size 224x128' || echo ' nothing is said'
