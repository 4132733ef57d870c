# exit: 2
# stderr: *outside 1 to 256
$reelm generate --frames 100000
