# exit: 2
# stderr: *--control: 'blur=x.mp4' is neither depth=FILE nor flow=FILE*
$reelm stylize --control blur=x.mp4 -o out.mp4
