# stdout: *same
for t in 1 2; do
  $reelm generate -p "a ball" --frames 5 -s 3 -q -t $t --deterministic --save-tokens $t.rtok -o a.mp4
done
cmp 1.rtok 2.rtok && echo same
