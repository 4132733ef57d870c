# exit: 4
# stderr: *nomodel*
# stderr: one line
$reelm info -m nomodel
