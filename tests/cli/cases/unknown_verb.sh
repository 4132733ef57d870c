# exit: 2
# stderr: *did you mean 'generate'?
# stderr: one line
$reelm genrate
