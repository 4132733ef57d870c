# stdout: *video 2x*video 4x*
$reelm generate --frames 17 --size 32x32 -s 5 -q --no-audio --save-tokens a.rtok -o a.mp4
$reelm tokens a.rtok --cut 0:2 -o b.rtok
$reelm tokens b.rtok b.rtok -o c.rtok
$reelm decode c.rtok -q -o c.mp4
