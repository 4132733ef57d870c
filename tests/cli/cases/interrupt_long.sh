# exit: 130
# stderr: *interrupted*out.mp4 holds what was finished*
$reelm generate --seconds 20 -s 1 -q -o out.mp4 &
pid=$!
sleep 4
kill -INT $pid
wait $pid
code=$?
$reelm probe out.mp4 >/dev/null || exit 99
exit $code
