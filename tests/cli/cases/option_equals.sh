# exit: 2
# stderr: *--width: 5 is outside 16 to 1024
$reelm generate --width=5
