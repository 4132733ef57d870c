# Tokenizers in pipes, both ways, and through named pipes.
ffmpeg -v error -f lavfi -i testsrc2=size=32x32:rate=8 -frames:v 5 -pix_fmt yuv444p -f yuv4mpegpipe - |
  $reelm encode - -o - | tee t.rtok | $reelm decode - -o - --format y4m >piped.y4m || exit 99
$reelm tokens - <t.rtok | grep -q 'stdin: video 2x4x4 codes = 5 frames 32x32' || exit 98
$reelm decode t.rtok -o file.y4m -q && cmp piped.y4m file.y4m || exit 97
mkfifo in out
cat t.rtok >in &
cat out >named.y4m &
$reelm decode in -o out --format y4m -q || exit 96
wait
test -p out && cmp named.y4m file.y4m || exit 95
$reelm decode - -o x.y4m <(head -c 100 t.rtok) 2>/dev/null && exit 94
$reelm generate --frames 2 --size 32x32 --no-audio -s 1 -q -o - --format mkv | ffmpeg -v error -i - -y x.mp4 && test -s x.mp4 || exit 93
# settings and mark come along from a pipe as from a file
$reelm generate --frames 1 --size 32x32 --no-audio -s 7 -q -p "a red ball" -o g.mp4 --save-tokens g.rtok || exit 92
$reelm decode - -o s.mp4 -q <g.rtok && cat g.rtok >in &
$reelm decode in -o f.avi -q || exit 91
wait
for file in s.mp4 f.avi; do
  $reelm metadata $file --json | grep -q '"prompt":[[:space:]]*"a red ball"' || exit 90
done
grep -qa DigitalSourceType s.mp4 || exit 89
$reelm decode g.rtok --no-metadata -o n.mp4 -q && ! grep -qa 'red ball' n.mp4 && grep -qa DigitalSourceType n.mp4
