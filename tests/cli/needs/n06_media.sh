# Turned, odd, variable, many-channelled: what came in is understood and read upright.
src="-v error -f lavfi -i testsrc2=size=64x32:rate=25:duration=1"
ffmpeg $src -metadata:s:v rotate=90 -y turned.mp4 && ffmpeg $src -vf setsar=2/1 -y wide.mp4 || exit 99
ffmpeg -v error -f lavfi -i sine=440:sample_rate=11025:duration=1 -ac 6 -y six.wav || exit 98
ffmpeg -v error -f lavfi -i sine=440:sample_rate=44100:duration=1 -y tone.flac || exit 97
ffmpeg $src -f lavfi -i sine=440:sample_rate=48000:duration=1 -y both.webm || exit 96
for f in turned.mp4 wide.mp4 six.wav tone.flac both.webm; do
  $reelm probe $f --json >p.json && grep -q '"seconds":[[:space:]]*1' p.json || exit 95
  $reelm encode $f -o $f.rtok -q || exit 94
done
$reelm tokens both.webm.rtok | grep -q '25 frames 64x32 at 25/s; audio .* = \(0.9[6-9]\|1.0[0-3]\)[0-9]* s at 16000 Hz' || exit 93
$reelm tokens wide.mp4.rtok | grep -q ' 128x32 \| 64x16 ' || exit 92
$reelm tokens six.wav.rtok | grep -q '1.000 s at 16000 Hz'
