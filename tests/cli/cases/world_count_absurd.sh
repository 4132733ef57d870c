# exit: 2
# stderr: *--count: 0 is outside*
$reelm world --count 0 -o x
