# exit: 6
# stderr: *file/made*
# stderr: one line
touch file
$reelm world -o file/made
