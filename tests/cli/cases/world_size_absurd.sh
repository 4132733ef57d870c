# exit: 2
# stderr: *outside 16x16 to 1024x1024
$reelm world --size 8x8 -o x
