# exit: 2
# stderr: *--frames and --seconds both say how long; give one
# stderr: one line
$reelm generate --frames 3 --seconds 1
