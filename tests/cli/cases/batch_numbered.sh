# stdout: *out-1.mp4*out-2.mp4*
$reelm generate -b 2 --frames 1 --no-audio -s 5 -o out.mp4 && test -s out-1.mp4 -a -s out-2.mp4
