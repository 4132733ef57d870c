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
$reelm generate --frames 2 --size 32x32 --no-audio -s 1 -q -o - --format mkv | ffmpeg -v error -i - -y x.mp4 && test -s x.mp4
