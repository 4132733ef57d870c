# exit: 6
# stdout: nothing
# stderr: *nothere.mp4*
# stderr: one line
$reelm encode nothere.mp4 -o x.rtok
