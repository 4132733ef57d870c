# stdout: same
# The token file of a clip of several windows is the clip.
$reelm generate --size 32x32 --frames 30 -s 3 -q --save-tokens t.rtok -o a.y4m || exit 9
$reelm decode t.rtok -q -o b.y4m || exit 8
cmp a.y4m b.y4m && echo same
