# exit: 2
# stdout: nothing
# stderr: *--mask FILE, --mask-box or --outpaint*
$reelm world --count 1 --size 32x32 --frames 1 --no-truth -o w -q
$reelm edit w/000000.mp4 -o out.mp4
