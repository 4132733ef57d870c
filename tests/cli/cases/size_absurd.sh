# exit: 2
# stderr: *outside 16x16 to 1024x1024
$reelm generate --size 30000x30000
