# A random seed is printed and stored; the same seed gives the same tokens, twenty times.
one="--frames 1 --size 32x32 --no-audio --json"
seed=$($reelm generate $one -o a.gif | sed -n 's/.*"seed":[[:space:]]*\([0-9]*\).*/\1/p')
test -n "$seed" || exit 99
$reelm generate $one -s "$seed" -o b.gif >b || exit 98
$reelm generate $one -s -1 -o c.gif >c || exit 97
cmp a.gif b.gif && ! cmp -s a.gif c.gif || exit 96
for i in $(seq 20); do
  $reelm generate --frames 2 --size 16x16 -s 9 -q --progress off -o d.mp4 --save-tokens "$i.rtok" && cmp 1.rtok "$i.rtok" || exit 95
done
$reelm metadata a.gif 2>/dev/null && exit 94 # a GIF keeps none; the token file does
$reelm metadata 1.rtok --json | grep -q '"seed":[[:space:]]*9'
