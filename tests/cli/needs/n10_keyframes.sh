# First, middle and last pictures are what was given, as the tokenizer shows it alone: to 40 dB and
# better, at two sizes; and the tokens decode to the very same frames.
command -v python3 >/dev/null || exit 0
cat >psnr.py <<'END'
import math, subprocess, sys
def pictures(path):
    return subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
                          capture_output=True, check=True).stdout
clip, still, frame = pictures(sys.argv[1]), pictures(sys.argv[2]), int(sys.argv[3])
one = clip[frame * len(still):(frame + 1) * len(still)]
error = sum((x - y) ** 2 for x, y in zip(one, still)) / len(still)
print(f"{sys.argv[1]} frame {frame}: {10 * math.log10(255 ** 2 / error) if error else 99:.1f} dB")
raise SystemExit(len(one) != len(still) or error > 255 ** 2 / 10 ** 4)
END
for size in 64x64 96x48; do
  for i in 1 2 3; do
    ffmpeg -v error -f lavfi -i "testsrc2=size=$size" -vf "trim=start_frame=$((9 * i)),hue=h=$((100 * i))" -frames:v 1 -y k$i.png || exit 99
    $reelm encode k$i.png -o k.rtok -q && $reelm decode k.rtok -o s$i.png -q || exit 98
  done
  $reelm animate k1.png --keyframe k2.png@6 --end-img k3.png --frames 13 --size $size --no-audio -s 1 -q --progress off \
    -o out.y4m --save-tokens out.rtok || exit 97
  python3 psnr.py out.y4m s1.png 0 && python3 psnr.py out.y4m s2.png 6 && python3 psnr.py out.y4m s3.png 12 || exit 96
  $reelm decode out.rtok -o again.y4m -q && cmp out.y4m again.y4m || exit 95
  # behind a film, whose own frames stay
  $reelm decode out.rtok -o film.mp4 -q && $reelm extend film.mp4 --seconds 1 --keyframe k1.png@-1 --size $size --no-audio -s 1 -q \
    --progress off -o more.y4m || exit 94
  python3 psnr.py more.y4m s1.png 20 || exit 93
done
