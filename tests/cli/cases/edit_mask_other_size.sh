# exit: 2
# stderr: *the mask is 16x16, the picture 32x32*
$reelm world --count 1 --size 32x32 --frames 1 --format png --no-truth -o w -q
$reelm world --count 1 --size 16x16 --frames 1 --format png --no-truth -o m -q
$reelm edit w/*.png --mask m/*.png -o out.png
