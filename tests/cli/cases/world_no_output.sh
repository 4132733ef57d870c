# exit: 2
# stderr: *-o DIR is missing
$reelm world
