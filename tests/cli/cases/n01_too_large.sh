# exit: 5
# stderr: *max-memory*
# stderr: one line
# What does not fit is refused before the work, naming the way round.
$reelm generate --max-memory 0.001 --progress off -o out.mp4
