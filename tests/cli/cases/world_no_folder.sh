# exit: 6
# stderr: *file: is not a folder
# stderr: one line
echo text >file
$reelm world -o file
