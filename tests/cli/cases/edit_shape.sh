# stdout: 96x80
# A size of another shape would cut off what is to be made: refused. So is an edit that makes nothing.
$reelm world --count 1 --size 32x32 --frames 2 --no-truth -o w -q
try() {
  $reelm edit w/000000.mp4 "$@" -s 1 -q -o no.mp4 2>err
  [ $? -eq 2 ] && [ "$(grep -c '' err)" -eq 1 ] && [ ! -e no.mp4 ] || {
    echo "$@"
    cat err
  }
}
try --outpaint 8,8,0,0 --size 32x32
grep -q -- '--size 40x24 has it' err || exit 99
try --mask-box 0,0,4,4 --size 64x32
try --mask-box 0,0,4,4 -W 64 -H 32
ffmpeg -v error -f lavfi -i color=black:size=320x320 -frames:v 1 -vf drawbox=0:0:1:1:white:fill big.png
$reelm world --count 1 --size 320x320 --frames 1 --format png --no-truth -o b -q
$reelm edit b/*.png --mask big.png --size 16x16 -s 1 -q -o no.png 2>err
[ $? -eq 2 ] && grep -q 'nothing' err && [ ! -e no.png ] || exit 98
$reelm edit w/000000.mp4 --outpaint 8,8,4,4 --size 96x80 -s 1 -q -o a.mp4 || exit 97
ffprobe -v error -select_streams v -show_entries stream=width,height -of csv=p=0:s=x a.mp4
$reelm world --count 1 --size 160x90 --frames 2 --no-truth -o v -q # what was chosen can be asked for
ffmpeg -v error -i v/000000.mp4 -vf scale=322:182 v.avi
$reelm edit v.avi --mask-box 0,0,9,9 -s 1 -q -o c.mp4 && $reelm edit v.avi --from-metadata c.mp4 -q -o d.mp4 || exit 96
