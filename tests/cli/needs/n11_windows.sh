# Written while it is made, an extension is the one made whole (a pipe as source); settings told at
# the end stand in every container; windows have prompts and an overlap of their own.
ffmpeg -v error -f lavfi -i testsrc2=size=32x32:rate=8:duration=1.25 -f lavfi -i sine=440:sample_rate=16000:duration=1.25 -c:v ffv1 -c:a pcm_s16le -y in.mkv || exit 99
longer="$reelm extend --seconds 2 -s 3 -t 1 -q --progress off"
$longer in.mkv -o grown.mkv --save-tokens grown.rtok && $longer - --size 32x32 -o whole.mkv --save-tokens whole.rtok <in.mkv || exit 98
test "$(ffmpeg -v error -i grown.mkv -f md5 -)" = "$(ffmpeg -v error -i whole.mkv -f md5 -)" || exit 97
for f in mkv webm avi mov mp4; do
  test $f = mkv || $longer in.mkv -o grown.$f || exit 96
  $reelm metadata grown.$f | grep -q '^effective_frames  *26$' || { echo "$f: settings"; exit 95; }
  $reelm metadata grown.$f | grep -q '^token_sha256' || { echo "$f: tokens"; exit 94; }
done
# the first window as with one prompt, the second not
printf 'a red ball\n# what follows\n\na blue box on grass\n' >lines
$longer in.mkv -p "a red ball" --no-audio --save-tokens one.rtok -o a.mp4 && $longer in.mkv --prompts-file lines --no-audio --save-tokens two.rtok -o b.mp4 || exit 93
$longer in.mkv --prompts "a red ball" --prompts "a blue box on grass" --no-audio --save-tokens three.rtok -o c.mp4 || exit 92
$longer in.mkv --from-metadata b.mp4 --save-tokens four.rtok -o d.mp4 || exit 91
cat >same.py <<'END'
import json, struct, sys
def ids(path):
    data = open(path, "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    return data[8 + n:]
one, two, three, four = (ids(f"{n}.rtok") for n in ("one", "two", "three", "four"))
first = 5 * 4 * 4 * 4 # the window of past and new: 5 code frames of 4 x 4 codes
sys.exit(not (one[:first] == two[:first] and one != two and two == three == four))
END
if command -v python3 >/dev/null; then python3 same.py || exit 90; fi
# an overlap changes what the second window sees; those that cannot be are named
$longer in.mkv --overlap 5 --no-audio --save-tokens five.rtok -o e.mp4 && ! cmp -s five.rtok one.rtok || exit 89
$longer in.mkv --overlap 7 -o x.mp4 2>said; test $? -eq 2 && grep -q '5 or 9 are' said || exit 88
$longer in.mkv --overlap 20 -o x.mp4 2>said; test $? -eq 2 && grep -q '1 to 13' said || exit 87
# --reencode: the video's own frames as encode and decode show them
$reelm encode in.mkv -o in.rtok -q && $reelm decode in.rtok -o in.avi -q || exit 86
$longer in.mkv --reencode -o r.avi || exit 85
first_frames() { ffmpeg -v error -i "$1" -frames:v 10 -an -f md5 -; }
test "$(first_frames r.avi)" = "$(first_frames in.avi)" || exit 84
# stopped: what was made is in the file, which is whole
timeout -s INT 3 $reelm extend in.mkv --seconds 60 -s 3 -t 1 --progress off -o part.mp4 >/dev/null 2>said
test $? -eq 124 -o $? -eq 130 || exit 83
if [ -e part.mp4 ]; then ffprobe -v error part.mp4 >/dev/null || exit 82; fi
! ls -A | grep -q reelm.tmp
