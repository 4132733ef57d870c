# stdout: *video 2x*audio 4x50 codes = 1.000 s*whole*
# Sound is cut and joined with the pictures; what cannot be is said, and what does not fit is refused.
$reelm generate --frames 17 --size 32x32 -s 5 -q --save-tokens a.rtok -o a.mp4 || exit 99
$reelm tokens a.rtok --cut 0:2 -o b.rtok || exit 98
$reelm tokens a.rtok --cut 2:5 -q -o c.rtok || exit 97
$reelm tokens b.rtok c.rtok -q -o d.rtok || exit 96
for f in a d; do
  $reelm tokens $f.rtok -q -o $f.npy && $reelm tokens $f.rtok -q --no-video -o $f.sound.npy || exit 95
done
cmp a.npy d.npy && cmp a.sound.npy d.sound.npy && echo whole
$reelm decode b.rtok -q -o b.mkv && ffprobe -v error -select_streams a -show_entries stream=codec_type -of csv=p=0 b.mkv | grep -q audio || exit 94
$reelm tokens a.rtok a.rtok -o e.rtok >out 2>err
grep -q 'video 10x.*audio 4x231 codes' out && [ ! -s err ] || exit 93
$reelm decode e.rtok -q -o e.mkv && ffprobe -v error -select_streams a -show_entries stream=codec_type -of csv=p=0 e.mkv | grep -q audio || exit 87
$reelm generate --frames 17 --size 32x32 -s 5 -q --no-audio --save-tokens n.rtok -o n.mp4 || exit 86
$reelm tokens a.rtok n.rtok -o e.rtok >/dev/null 2>err
grep -q 'the sound is left out: not all files have one' err || exit 85
$reelm generate --frames 17 --size 31x32 -s 5 -q --save-tokens f.rtok -o f.mp4 || exit 92
$reelm tokens a.rtok f.rtok -o g.rtok 2>err
[ $? -eq 3 ] && grep -q 'join: f.rtok is 31x32 at 8/s, a.rtok 32x32 at 8/s' err && [ ! -e g.rtok ] || exit 91
$reelm generate --frames 5 --fps 12 --size 32x32 -s 5 -q --save-tokens h.rtok -o h.mp4 || exit 90
$reelm tokens a.rtok h.rtok -o g.rtok 2>err
[ $? -eq 3 ] || exit 89
$reelm decode a.rtok --no-video -o s.wav >out && ! grep -q video out || exit 88
