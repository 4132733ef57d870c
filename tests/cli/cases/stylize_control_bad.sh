# exit: 2
# stderr: *--control: 'edge=x.mp4' is neither depth=FILE nor flow=FILE*
$reelm stylize --control edge=x.mp4 -o out.mp4
