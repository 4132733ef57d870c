# stdout: 17
$reelm world --count 2 --size 32x32 --frames 1 --format png --no-truth -o w -q
$reelm animate "$(ls w/*.png | head -1)" --end-img "$(ls w/*.png | tail -1)" --size 32x32 -s 1 -q -o out.mp4 || exit 9
ffprobe -v error -select_streams v -count_frames -show_entries stream=nb_read_frames -of csv=p=0 out.mp4
