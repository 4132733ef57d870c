# stdout: ok
# Numbers and words that are said are those of what is made.
$reelm world -c 1 --size 48x32 --frames 12 --fps 12 --no-truth -q -o w && mv w/000000.mp4 film.mp4 || exit 99
$reelm sound film.mp4 --dry-run -o s.mp4 | grep -q 's.mp4: 48x32, 12 frames at 12/s' || exit 98
$reelm sound film.mp4 --size 32x32 -s 1 -q -o s.mp4 && $reelm sound film.mp4 --from-metadata s.mp4 -q -o t.mp4 || exit 88
[ "$($reelm metadata s.mp4 | grep -E '^(width|frames) ' | xargs)" = "width 32" ] || exit 87
one="--frames 2 --size 16x16 -s 1"
$reelm generate $one -o 'c-%d.gif' >said || exit 97
grep -q '^c-1.gif: ' said && ! grep -q 'with sound' said && [ -s c-1.gif ] || exit 96
$reelm generate $one -b 1 -o 'd-%02d.mp4' >said && grep -q '^d-01.mp4: .*with sound' said || exit 95
$reelm generate --print-config | grep -qx '# temp = 0.9' || exit 94
for option in temp:0.9 top-k:0 top-p:0.9 min-p:0 cfg-scale:4 batch-count:1; do
  $reelm generate --help | grep -A1 -- "--${option%:*} " | tr '\n' ' ' | grep -q "(${option#*:})" || exit 93
done
$reelm extend film.mp4 --seconds 1.5 --no-audio -s 1 -q --preview-path now.png --preview-interval 1 -o e.mp4 2>err || exit 92
[ -s now.png ] && ffprobe -v error -show_entries stream=width,height -of csv=p=0 now.png | grep -qx 48,32 || exit 91
ffmpeg -v error -f lavfi -i testsrc2=size=16x16:rate=240 -frames:v 3 fast.mkv
$reelm edit fast.mkv --mask-box 0,0,4,4 -s 1 -q -o f.mkv && $reelm edit fast.mkv --from-metadata f.mkv -q -o g.mkv || exit 90
ffmpeg -v error -f lavfi -i testsrc2=size=16x16:rate=1/2 -frames:v 3 slow.mkv
$reelm edit slow.mkv --mask-box 0,0,4,4 -s 1 -q -o h.mkv && $reelm edit slow.mkv --from-metadata h.mkv -q -o i.mkv || exit 89
echo ok
