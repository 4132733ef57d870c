# exit: 6
# stderr: *no file there belongs to 000003.mp4*
$reelm world -s 3 --size 64x48 --frames 2 --no-truth -o made -q && mkdir empty
$reelm eval video made/000003.mp4 --against empty
