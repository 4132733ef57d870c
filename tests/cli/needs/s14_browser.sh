# stdout: *h264*yuv420p*bt709*aac*
# The default output is what browsers play: H.264 4:2:0, even sides, BT.709, constant rate, index first, AAC.
$reelm generate --frames 3 --size 33x31 -s 1 -q --progress off -o a.mp4 || exit 99
ffprobe -v error -show_entries stream=codec_name,pix_fmt,color_space,r_frame_rate,width,height -of csv=p=0 a.mp4
ffprobe -v error -select_streams v -show_entries stream=width,height,r_frame_rate -of csv=p=0 a.mp4 | grep -qx '34,32,8/1' || exit 98
python3 -c 'import sys; d = open("a.mp4", "rb").read(); sys.exit(not 0 < d.find(b"moov") < d.find(b"mdat"))'
