# stdout: 9 9
# By what is given, and by what is seen in a plain video.
$reelm world --count 1 --size 32x32 --frames 9 -o w -q
$reelm stylize --control depth=w/000000.control.mp4 --control flow=w/000000.control.mp4 -p "a blue ball rolls" \
  --size 32x32 -s 1 -q -o a.mp4 || exit 9
$reelm stylize w/000000.mp4 --size 32x32 -s 1 -q -o b.mp4 || exit 8
for f in a b; do
  ffprobe -v error -select_streams v -count_frames -show_entries stream=nb_read_frames -of csv=p=0 $f.mp4
done | xargs
