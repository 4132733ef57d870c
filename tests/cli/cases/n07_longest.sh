# stdout: good
# A sound of 1 s and pictures of 0.5 and 2 s: the picture decides; --longest keeps the sound's end,
# --shortest the shorter.
ffmpeg -v error -f lavfi -i sine=f=440:r=16000:d=1 in.wav
lengths() { # of picture and sound, in eighths of a second
  for s in v a; do ffprobe -v error -select_streams $s -show_entries packet=pts_time,duration_time -of csv=p=0 "$1" | awk -F, '$1 + $2 > end { end = $1 + $2 } END { printf "%d ", end * 8 + 0.1 }'; done
}
make() { $reelm visualize in.wav --size 16x16 -s 1 -q -t 1 --progress off -o out.avi "$@" || exit 9; lengths out.avi; }
$reelm visualize in.wav --longest --shortest -o x.avi 2>/dev/null; [ $? -eq 2 ] || exit 8
is="$(make --frames 4)$(make --frames 4 --longest)$(make --frames 4 --shortest)$(make --frames 16)$(make --frames 16 --shortest)$(make --frames 16 --longest)"
[ "$is" = "4 4 4 8 4 4 16 16 8 8 16 16 " ] && echo good || echo "$is"
