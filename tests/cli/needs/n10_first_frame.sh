# The first frame is the picture that was given, as the tokenizer shows it: to 40 dB and better.
ffmpeg -v error -f lavfi -i testsrc2=size=64x64 -frames:v 1 -y in.png || exit 99
$reelm animate in.png --frames 5 --size 64x64 --no-audio -s 1 -q --progress off -o out.y4m || exit 98
$reelm encode in.png -o in.rtok -q && $reelm decode in.rtok -o round.y4m -q || exit 97
ffmpeg -v error -i out.y4m -frames:v 1 -f rawvideo a.raw && ffmpeg -v error -i round.y4m -frames:v 1 -f rawvideo b.raw || exit 96
python3 - <<'END'
a, b = open("a.raw", "rb").read(), open("b.raw", "rb").read()
error = sum((x - y) ** 2 for x, y in zip(a, b)) / len(a)
raise SystemExit(not (len(a) == len(b) and error <= 255 ** 2 / 10 ** 4))
END
