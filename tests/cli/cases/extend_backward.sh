# stdout: 13
$reelm world --count 1 --size 16x16 --frames 5 --no-truth -o w -q
$reelm extend w/000000.mp4 --backward --seconds 1 --size 16x16 -s 1 -q -o out.mp4 || exit 9
ffprobe -v error -select_streams v -count_frames -show_entries stream=nb_read_frames -of csv=p=0 out.mp4
