# exit: 2
# stderr: *frame 17 of a clip of 17; free are 0 to 16*
$reelm world --count 1 --size 16x16 --frames 1 --format png --no-truth -o w -q
$reelm generate --size 16x16 --keyframe "$(ls w/*.png)@17" -o out.mp4
