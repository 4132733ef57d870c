# exit: 2
# stdout: nothing
# stderr: reelm: a verb is missing*
# stderr: one line
$reelm
