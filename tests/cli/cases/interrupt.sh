# exit: 130
# stderr: *interrupted*out.mp4 holds what was finished, the tokens are in out.mp4.rtok*
$reelm generate -s 1 -q -t 1 --cpu-mask blas --progress json -o out.mp4 2>log &
pid=$!
for _ in $(seq 900); do # until a code frame is whole, however slow the machine
  grep -qE '"sample","done":([3-9][0-9][0-9]|1[0-9][0-9][0-9])' log && break
  sleep 0.1
done
kill -INT $pid
wait $pid
code=$?
cat log >&2
test -s out.mp4 -a -s out.mp4.rtok || exit 99
$reelm decode out.mp4.rtok -q -o again.mp4 || exit 98
exit $code
