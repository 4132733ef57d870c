# exit: 2
# stderr: *REELM_WIDTH: 5 is outside 16 to 1024
# stderr: one line
REELM_WIDTH=5 $reelm generate --dry-run
