# exit: 6
# stderr: *nowhere*
$reelm generate --frames 1 --size 32x32 --no-audio -s 1 -o nowhere/out.mp4
