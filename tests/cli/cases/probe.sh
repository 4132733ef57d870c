# stdout: *"container"*
$reelm generate --frames 5 --no-audio -s 1 -q -o a.mp4 && $reelm probe a.mp4 --json
