# stdout: *3 frames 32x32*
$reelm generate --frames 3 --size 32x32 --no-audio -s 1 -o a.y4m -q
$reelm encode - -o a.rtok <a.y4m
