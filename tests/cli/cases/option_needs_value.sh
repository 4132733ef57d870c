# exit: 2
# stderr: *--seed needs a value (N)
$reelm generate -s
