# stdout: YUV4MPEG2*
$reelm generate --frames 3 --size 32x32 --no-audio -s 1 -o - --format y4m | head -c 64
