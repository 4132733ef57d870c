# exit: 2
# stderr: *--count is of renders*
$reelm eval world clip.mp4 --count 3
