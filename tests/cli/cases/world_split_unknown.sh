# exit: 2
# stderr: *'all' is none of train, validation, test
$reelm world --split all -o x
