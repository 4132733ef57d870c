# A span of a film's sound is made anew, every sample outside of it stays; edges are refused with a way out.
ffmpeg -v error -f lavfi -i testsrc2=size=64x64:rate=8:duration=2 -f lavfi -i sine=440:sample_rate=22050:duration=2 -ac 2 \
  -c:v ffv1 -c:a pcm_f32le film.avi || exit 99
$reelm sound film.avi --span 0.5-1.25 --size 32x32 -s 1 -q --progress off -o out.avi || exit 98
raw() { ffmpeg -v error -i "$1" -map 0:a -f f32le -; } # 2 channels x 4 bytes x 22050 a second
raw film.avi >a.raw && raw out.avi >b.raw && cmp -n $((22050 / 2 * 8)) a.raw b.raw || exit 97
! cmp -s a.raw b.raw && cmp <(tail -c +$((22050 * 10 + 9)) a.raw) <(tail -c +$((22050 * 10 + 9)) b.raw) || exit 96
ffmpeg -v error -i film.avi -map 0:v -f rawvideo -y a.rgb && ffmpeg -v error -i out.avi -map 0:v -pix_fmt yuv420p -f rawvideo -y b.rgb || exit 95
test "$(stat -c %s a.rgb)" -eq "$(stat -c %s b.rgb)" || exit 94
$reelm metadata out.avi --json | grep -q '"0.5-1.25"' || exit 93
for wrong in 1.5-1 x -1-2 1-2x 1; do
  $reelm sound film.avi "--span=$wrong" -o no.mp4 2>err && exit 92
  grep -qx "reelm: --span: '.*' is not A-B in seconds, e.g. 0.5-1.25 or 2-" err || exit 91
done
$reelm sound film.avi --span 1-9 --size 32x32 -q --progress off -o no.mp4 2>err && exit 90
grep -q 'span 1: 1 to 9 s of a video of 2 s' err || exit 89
$reelm stylize film.avi --control edge=film.avi -o no.mp4 2>err && exit 88
grep -q 'never shown edges; give depth=FILE or flow=FILE' err
