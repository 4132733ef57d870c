# exit: 6
# stderr: *No space left on device; the tokens are safe: reelm decode*
# stderr: one line
$reelm generate --frames 1 --size 32x32 --no-audio -s 1 -q --save-tokens t.rtok -o /dev/full --format mp4
