# Pictures so far appear while sampling goes on; progress as JSON lines.
$reelm generate --frames 9 --size 64x64 --no-audio -s 1 --preview-path now.png --preview-interval 1 --progress json -o a.mp4 2>log || exit 99
test -s now.png || exit 98
ffprobe -v error -show_entries stream=width,height -of csv=p=0 now.png | grep -qx 64,64 || exit 97
grep -qE '^\{"stage":"sample","done":[0-9]+,"total":[0-9]+,"per_s":[0-9.]+,"elapsed_s":[0-9.]+,"eta_s":[0-9.]+\}$' log
