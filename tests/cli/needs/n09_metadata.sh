# Settings travel with the file, can be read back, re-created from, and left out.
one="--frames 1 --size 32x32 --no-audio -q"
$reelm generate $one -p "ein roter Ball, 红球" -s 7 --temp 0.7 -o a.mp4 --sidecar || exit 99
$reelm metadata a.mp4 --json >a.json || exit 98
grep -q '"prompt":[[:space:]]*"ein roter Ball, 红球"' a.json && grep -q '"temperature":[[:space:]]*0.7,' a.json || exit 97
sum=$(grep -o '"token_sha256":[[:space:]]*"[0-9a-f]*"' a.json) && test -n "$sum" || exit 96
$reelm metadata a.mp4.json --json | grep -qF "$sum" || exit 95
$reelm generate --from-metadata a.mp4 -q -o b.png && $reelm metadata b.png --json | grep -qF "$sum" || exit 94
$reelm generate --from-metadata b.png -q -s 8 -o c.mkv && $reelm metadata c.mkv --json | grep -q '"seed":[[:space:]]*8' || exit 93
$reelm generate --from-metadata a.mp4 -q --no-metadata -o d.mp4 || exit 92
! grep -qa 'roter Ball' d.mp4 && grep -qa 'trainedAlgorithmicMedia' d.mp4 || exit 91
cp a.mp4 e.mp4 # the sidecar serves where the file says nothing
ffmpeg -v error -i d.mp4 -map_metadata -1 -c copy f.mp4 && cp a.mp4.json f.mp4.json || exit 90
$reelm metadata f.mp4 --json | grep -qF "$sum" || exit 89
# every format that keeps them
$reelm generate --frames 2 --size 32x32 -q -s 7 -p "ein roter Ball, 红球" -o g.mp4 --save-tokens g.rtok || exit 88
for name in g.mkv g.webm g.mov g.avi g.wav g.flac g.ogg; do
  $reelm decode g.rtok -q -o $name && $reelm metadata $name --json >g.json || exit 87
  for key in schema generator mode prompt seed width height temperature model; do grep -q "\"$key\"" g.json || exit 86; done
done
