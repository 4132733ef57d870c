# stdout: *"seed":	7*"effective_frames":	9*"partial":	false*
# stderr: nothing
$reelm generate --progress off -p "a red ball" --frames 9 -s 7 -o out.mp4 --json && test -s out.mp4 -a ! -e out.mp4.rtok
