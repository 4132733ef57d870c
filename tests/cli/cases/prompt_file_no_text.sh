# exit: 3
# stderr: one line
# stderr: *words.txt*text*
printf 'a\0b' >words.txt
mkdir folder
$reelm generate --prompt-file folder -o out.mp4 2>log
[ $? -eq 6 ] && grep -q folder log || exit 99
$reelm generate --prompt-file words.txt -o out.mp4
