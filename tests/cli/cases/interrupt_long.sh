# exit: 130
# stderr: *interrupted*out.mp4 holds what was finished*
$reelm generate --seconds 20 -s 1 --progress json -o out.mp4 2>log &
pid=$!
for _ in $(seq 400); do # until the first window is being decoded, however slow the machine
  grep -q '"decode"' log && break
  sleep 0.1
done
kill -INT $pid
wait $pid
code=$?
cat log >&2
$reelm probe out.mp4 >/dev/null || exit 99
exit $code
