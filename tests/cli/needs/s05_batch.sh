# exit: 1
# stderr: *list:3: width: 5 is outside 16 to 1024*1 of 4 clips failed*
# One prompt a line, or options as JSON; a failing one does not stop the others.
printf 'a ball\n# a comment\n{"width": 5}\n\n{"prompt": "a cube", "seed": 9, "output": "cube.png"}\na ring\n' >list
$reelm generate --prompts-file list --frames 1 --size 32x32 --no-audio -q -s 3 -o 'x{seed}-%02d.gif'
code=$?
test -s x3-01.gif -a -s cube.png -a -s x6-04.gif || exit 99
$reelm metadata cube.png --json | grep -q '"seed":[[:space:]]*9' || exit 98
$reelm generate -p b -b 2 --skip-existing -s 3 --frames 1 --size 32x32 --no-audio -o 'x{seed}-%02d.gif' 2>log
grep -q 'x3-01.gif: is there already' log && test -s x4-02.gif || exit 97
exit $code
