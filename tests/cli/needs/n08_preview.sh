# Pictures so far appear while sampling goes on; progress as JSON lines.
$reelm generate --frames 17 --size 96x96 --no-audio -s 1 -t 1 --preview-path now.png --preview-interval 1 --progress json -o a.mp4 2>log || exit 99
test -s now.png || exit 98
ffprobe -v error -show_entries stream=width,height -of csv=p=0 now.png | grep -qx 96,96 || exit 97
grep -qE '^\{"stage":"sample","done":[0-9]+,"total":[0-9]+,"per_s":[0-9.]+,"elapsed_s":[0-9.]+,"eta_s":[0-9.]+\}$' log || exit 96
# what previews cost is said, and is below 5 % of the time; on a terminal one line is rewritten
$reelm generate --seconds 4 --no-audio -s 1 --preview-path now.png --preview-interval 1 --progress off --json -o a.mp4 >a.json || exit 95
awk -F: '{ gsub(/[ \t",]/, "") } $1 == "preview_write_s" { p = $2; said = 1 } $1 == "sample_s" { s = $2 } END { exit !(said && p < 0.05 * s + 0.05) }' a.json || exit 94
command -v script >/dev/null || exit 0
script -qec "$reelm generate --frames 9 --size 96x96 --no-audio -s 1 -t 1 -o a.mp4" tty.log >/dev/null || exit 93
tr '\r' '\n' <tty.log | grep -qE '\[(prompt|sample)\] [0-9]+/[0-9]+ tok  [0-9]+ tok/s  [0-9.]+ s  ETA [0-9.]+ s'
