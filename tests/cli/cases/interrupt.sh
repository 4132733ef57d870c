# exit: 130
# stderr: *interrupted*
$reelm generate --seconds 8 -s 1 -q -o out.mp4 &
pid=$!
sleep 2.5
kill -INT $pid
wait $pid
code=$?
test -s out.mp4 -a -s out.mp4.rtok || exit 99
exit $code
