# The tokens outlive a write that fails, and decode to the same pictures without sampling.
one="--frames 1 --size 32x32 --no-audio -s 4 -q"
$reelm generate $one -o a.y4m --save-tokens a.rtok || exit 99
$reelm decode a.rtok -o b.y4m -q && cmp a.y4m b.y4m || exit 98
$reelm generate $one -o /dev/full --format mp4 --save-tokens f.rtok 2>log && exit 97
grep -q 'tokens are safe: reelm decode f.rtok' log && $reelm decode f.rtok -o f.y4m -q && cmp a.y4m f.y4m
