# stdout: *"effective_width":	75*"effective_height":	91*"effective_frames":	6*
$reelm generate --size 75x91 --frames 6 --no-audio -s 1 --json -o out.mp4
