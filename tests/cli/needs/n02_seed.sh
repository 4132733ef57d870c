# A random seed is printed and stored; the same seed gives the same tokens.
one="--frames 1 --size 32x32 --no-audio --json"
seed=$($reelm generate $one -o a.gif | sed -n 's/.*"seed":[[:space:]]*\([0-9]*\).*/\1/p')
test -n "$seed" || exit 99
$reelm generate $one -s "$seed" -o b.gif >b || exit 98
$reelm generate $one -s -1 -o c.gif >c || exit 97
cmp a.gif b.gif && ! cmp -s a.gif c.gif
