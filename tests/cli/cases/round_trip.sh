# stdout: *9 frames 64x48*same
$reelm generate --frames 9 --size 64x48 -s 5 -q -o a.mp4
$reelm encode a.mp4 -o a.rtok
$reelm decode a.rtok -o b.mp4 -q && $reelm encode a.mp4 -o b.rtok -q && cmp a.rtok b.rtok && echo same
