# exit: 6
# stderr: *full*
$reelm generate --frames 1 --size 32x32 --no-audio -s 1 -o /dev/full --format mp4 2>err
code=$?
tail -2 err | head -1 | sed 's/$/ full/' >&2
exit $code
