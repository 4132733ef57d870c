# A video goes on by the seconds asked for, its own frames untouched.
ffmpeg -v error -f lavfi -i testsrc2=size=32x32:rate=8 -frames:v 9 -pix_fmt yuv444p -y in.y4m || exit 99
$reelm extend in.y4m --seconds 1 --size 32x32 --no-audio -s 1 --progress off -o out.y4m >said || exit 98
frames() { ffprobe -v error -count_frames -show_entries stream=nb_read_frames -of csv=p=0 "$1"; }
test "$(frames out.y4m)" -eq 17 || exit 97
ffmpeg -v error -i in.y4m -f rawvideo -pix_fmt rgb24 a.raw && ffmpeg -v error -i out.y4m -frames:v 9 -f rawvideo -pix_fmt rgb24 b.raw || exit 96
python3 - <<'END'
a, b = open("a.raw", "rb").read(), open("b.raw", "rb").read()
raise SystemExit(not (len(a) == len(b) and max(abs(x - y) for x, y in zip(a, b)) <= 3))
END
test $? -eq 0 && grep -cE '^  second [0-2]: luma [0-9.]+ \+- [0-9.]+, chroma' said | grep -qx 3
