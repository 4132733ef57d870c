# stdout: nothing
# No output overwrites what it is made from, by whatever name; said before anything is read.
$reelm world -c 1 --size 16x16 --frames 2 --no-truth -q -o w || exit 99
mv w/000000.mp4 in.mp4
ln in.mp4 hard.mp4
ln -s in.mp4 soft.mp4
ffmpeg -v error -i in.mp4 -frames:v 1 p.png
cp p.png seq_3.png
sum=$(sha256sum in.mp4 p.png seq_3.png)
try() { # ARGUMENTS...
  timeout 20 $reelm "$@" >out 2>err
  [ $? -eq 2 ] && [ "$(grep -c '' err)" -eq 1 ] && grep -qE 'same file|is the input|cannot be both|to go on from' err || {
    echo "reelm $*"
    cat err
  }
}
for out in in.mp4 hard.mp4 soft.mp4 ./in.mp4; do
  try extend in.mp4 --seconds 1 -o $out
  try edit in.mp4 --mask-box 0,0,4,4 -o $out
  try sound in.mp4 -o $out
  try stylize --control depth=in.mp4 -o $out
done
try animate p.png -o p.png
try generate --keyframe p.png@-1 -o p.png --frames 1
try edit in.mp4 --mask p.png -o p.png
try animate p.png -o a.mp4 --save-tokens p.png
try animate p.png -o a.mp4 --preview-path p.png
try generate -i seq_3.png -o seq_%d.png --frames 5
try extend in.mp4 --seconds 1 --backward -o in.mp4
try visualize in.mp4 -o in.mp4
try generate -o a.mp4 --save-tokens a.mp4
cp in.mp4 plain
try encode plain -o plain
[ "$sum" = "$(sha256sum in.mp4 p.png seq_3.png)" ] || echo changed
