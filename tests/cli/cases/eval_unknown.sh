# exit: 2
# stderr: *'pictures' is none of video, audio*
$reelm eval pictures .
