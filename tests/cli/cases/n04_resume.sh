# stdout: same
# A run that was stopped, taken up from its tokens, gives the bytes of one that was not.
args="generate --size 32x32 --frames 100 --no-audio -s 7 --deterministic"
$reelm $args -q --save-tokens whole.rtok -o whole.y4m || exit 9
$reelm $args --progress json -o out.mp4 >/dev/null 2>log &
pid=$!
for _ in $(seq 1200); do # until the first window is decoded, however slow the machine
  grep -q '"stage":"decode"' log && break
  sleep 0.1
done
kill -INT $pid
wait $pid
[ $? -eq 130 ] && [ -s out.mp4.rtok ] || exit 8
$reelm $args -q --resume out.mp4.rtok --save-tokens again.rtok -o again.y4m || exit 7
cmp whole.y4m again.y4m && echo same
