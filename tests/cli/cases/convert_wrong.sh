# exit: 2
# stderr: one line
# stderr: *q3*int8*
$reelm convert "$model" --weights q3 -o small
