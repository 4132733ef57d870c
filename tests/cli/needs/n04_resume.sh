# An interrupted run goes on to the bytes of one that was not.
one="--frames 9 --size 64x64 -s 5 --progress json -t 1 --deterministic"
$reelm generate $one -p "a red ball" -o whole.y4m --save-tokens whole.rtok -q 2>/dev/null || exit 99
$reelm generate $one -p "a red ball" -o part.y4m 2>log &
pid=$!
for _ in $(seq 900); do
  grep -qE '"sample","done":(7[0-9]|[89][0-9]|[1-9][0-9][0-9])' log && break
  sleep 0.1
done
kill -TERM $pid
wait $pid
code=$?
if [ $code -eq 143 ]; then # 0: it was faster than the signal
  test -s part.y4m.rtok || exit 98
  $reelm generate --resume part.y4m.rtok -o again.y4m --save-tokens again.rtok -q --progress off -t 1 || exit 97
  cmp whole.rtok again.rtok && cmp whole.y4m again.y4m || exit 96
else
  test $code -eq 0 || exit 95
fi
