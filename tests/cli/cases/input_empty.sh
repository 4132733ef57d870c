# exit: 3
# stderr: *empty.mp4*
# stderr: one line
: >empty.mp4
$reelm encode empty.mp4 -o x.rtok
