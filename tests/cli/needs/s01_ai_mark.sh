# The mark is on by default, separate from --no-metadata, and leaves no file broken.
one="--size 32x32 --no-audio -q -s 1"
uri=http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia
for name in a.mp4 a.mov a.gif a.png; do
  $reelm generate --frames 1 $one --no-metadata -o $name && grep -qaF "DigitalSourceType=\"$uri\"" $name || exit 99
  ffmpeg -v error -i $name -f null - 2>err && test ! -s err || exit 98
done
$reelm generate --frames 1 $one -o a.mkv || exit 97
ffprobe -v error -show_entries format_tags a.mkv | grep -qi 'ai_generated=true' || exit 96
ffprobe -v error -show_entries format_tags a.mp4 | grep -q 'ai_generated=true' || exit 95
$reelm generate --frames 1 $one --no-ai-mark -o b.mp4 || exit 94
! grep -qa 'DigitalSource\|ai_generated' b.mp4 || exit 93
$reelm extend a.mkv --seconds 0.1 $one -o c.mp4 >/dev/null 2>&1 # goes on with a generated clip: generated
grep -qaF "DigitalSourceType=\"$uri\"" c.mp4
