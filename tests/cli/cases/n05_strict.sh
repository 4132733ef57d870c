# exit: 2
# stderr: *1.3 s are no whole number of frames at 8 a second; 1.25 or 1.375 are
# stderr: one line
$reelm generate --seconds 1.3 --strict
