# exit: 2
# stderr: *'pictures' is not*
$reelm eval pictures .
