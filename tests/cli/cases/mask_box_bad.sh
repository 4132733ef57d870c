# exit: 2
# stderr: *--mask-box: '1,2,3' is not X,Y,W,H*
# stderr: one line
$reelm edit x.mp4 --mask-box 1,2,3 -o out.mp4
