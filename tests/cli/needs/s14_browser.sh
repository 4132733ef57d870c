# stdout: *h264*yuv420p*bt709*aac*
# The default output is what browsers play: H.264 4:2:0, even sides, BT.709, constant rate, index first, AAC.
$reelm generate --frames 3 --size 33x31 -s 1 -q --progress off -o a.mp4 || exit 99
ffprobe -v error -show_entries stream=codec_name,pix_fmt,color_space,r_frame_rate,width,height -of csv=p=0 a.mp4
ffprobe -v error -select_streams v -show_entries stream=width,height,r_frame_rate -of csv=p=0 a.mp4 | grep -qx '34,32,8/1' || exit 98
python3 -c 'import sys; d = open("a.mp4", "rb").read(); sys.exit(not 0 < d.find(b"moov") < d.find(b"mdat"))' || exit 97
# Other containers; AVI loses nothing.
$reelm generate --frames 3 --size 33x31 -s 1 -q --progress off -o a.y4m --save-tokens a.rtok || exit 96
for what in webm:vp9 mkv:h264 mov:h264 avi:ffv1 gif:gif y4m:rawvideo; do
  $reelm decode a.rtok -q -o b.${what%:*} && ffprobe -v error -select_streams v -count_frames -show_entries stream=codec_name,nb_read_frames \
    -of csv=p=0 b.${what%:*} | grep -qx "${what#*:},3" || exit 95
done
$reelm decode a.rtok -q -o f_%05d.png && test -s f_00000.png && test -s f_00002.png || exit 94
raw() { ffmpeg -v error -i "$1" -f rawvideo -pix_fmt rgb24 -; }
cat f_*.png | ffmpeg -v error -f image2pipe -i - -f rawvideo -pix_fmt rgb24 frames.raw && raw b.avi | cmp - frames.raw
