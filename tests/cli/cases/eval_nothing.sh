# exit: 2
# stderr: *no media files found*
$reelm eval video .
