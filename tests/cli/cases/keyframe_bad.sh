# exit: 2
# stderr: *--keyframe: 'end.png' is not FILE@FRAME*
# stderr: one line
$reelm generate --keyframe end.png -o out.mp4
