# exit: 130
# stderr: *interrupted*out.mp4 holds what was finished, the tokens are in out.mp4.rtok*
$reelm generate -s 1 -q -t 1 --cpu-mask blas -o out.mp4 &
pid=$!
sleep 4
kill -INT $pid
wait $pid
code=$?
test -s out.mp4 -a -s out.mp4.rtok || exit 99
$reelm decode out.mp4.rtok -q -o again.mp4 || exit 98
exit $code
