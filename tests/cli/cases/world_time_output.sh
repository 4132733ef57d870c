# exit: 2
# stderr: *--time writes nothing*
$reelm world --time -o made
