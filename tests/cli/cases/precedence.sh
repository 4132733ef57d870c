# stdout: *x-1.gif: 48x40*x-2.gif: 32x40*
# A stronger source replaces what a weaker one said, and a line of many clips is the strongest.
export REELM_PROMPT="a standing wish"
printf '{"width": 48, "height": 40, "prompt": "a"}\n{"width": 32, "height": 40}\n' >list
$reelm generate --prompts-file list --size 16x16 --frames 1 --no-audio -s 1 -o x.gif || exit 99
printf 'keyframe = no.png@0\n' >c.ini
$reelm world -c 1 --size 16x16 --frames 1 --format png --no-truth -q -o w && mv w/*.png k.png || exit 98
$reelm generate --config-file c.ini --size 16x16 --keyframe k.png@0 --frames 1 --no-audio -s 1 -q -o y.gif || exit 97
printf 'b\n' >lines
$reelm generate --prompts-file lines --size 16x16 --frames 1 --no-audio -s 1 -q -o z.png || exit 96
$reelm metadata z.png | grep -q '^prompt *"b"' || exit 95
$reelm generate -p c -p d --prompts-file lines -o z.png 2>err
grep -q 'leave --prompt out' err || exit 94
REELM_PROMPTS_FILE=nothere $reelm generate -p d --size 16x16 --frames 1 --no-audio -s 1 -q -o z.png || exit 93
$reelm generate --sede 1 2>err
grep -q -- '--seed' err || exit 92
$reelm edit k.png --mask-box 0,0,4,4@0-2147483647 -o e.png 2>err
[ $? -eq 2 ] && grep -q -- '--mask-box' err || exit 91
