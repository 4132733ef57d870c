# stdout: 48x40
$reelm world --count 1 --size 32x32 --frames 5 --no-truth -o w -q
$reelm edit w/000000.mp4 --outpaint 8,8,4,4 -s 1 -q -o out.mp4 || exit 9
ffprobe -v error -select_streams v -show_entries stream=width,height -of csv=p=0:s=x out.mp4
