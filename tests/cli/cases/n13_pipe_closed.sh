# stderr: nothing
# A reader that leaves ends it quietly.
$reelm generate --frames 9 --size 64x64 --no-audio -s 1 -q --progress off -o - --format y4m | head -c 10 >/dev/null
