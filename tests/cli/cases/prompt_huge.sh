# exit: 2
# stderr: *--prompt: 102400 bytes, at most 65536*
# stderr: one line
head -c 102400 /dev/zero | tr '\0' 'a' >prompt.txt
$reelm generate -p "$(cat prompt.txt)" -o out.mp4
